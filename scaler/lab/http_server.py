"""HTTP/1.1 for the lab: a thread per connection, keep-alive, and able to cut one unanswered.

werkzeug's server, which moto brings, closes each connection after its answer; a client that calls
a hundred times a second would pay a handshake and a thread for each call.
"""

import io
import logging
import socket
import socketserver
import sys
import threading
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING

from scaler.lab.application import NoAnswerError

if TYPE_CHECKING:
    from _typeshed import OptExcInfo
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

MAX_CONNECTIONS = 512
MAX_LINE_BYTES = 65_536
MAX_HEADERS = 200
MAX_BODY_BYTES = 16_000_000
IDLE_S = 300.0
_LOG = logging.getLogger(__name__)


class _BadRequestError(Exception):
    """What came is no HTTP that we speak."""


class LabHttpServer(socketserver.ThreadingTCPServer):
    """Serves one WSGI application on 127.0.0.1.

    Raises: OSError when the port is taken.
    """

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, application: "WSGIApplication", *, port: int) -> None:
        self.application = application
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()
        super().__init__(("127.0.0.1", port), _Connection)

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def verify_request(self, request: object, client_address: object) -> bool:
        with self._open_lock:
            return len(self._open) < MAX_CONNECTIONS

    def opened(self, connection: socket.socket) -> None:
        with self._open_lock:
            self._open.add(connection)

    def closed(self, connection: socket.socket) -> None:
        with self._open_lock:
            self._open.discard(connection)

    def cut_all(self) -> None:
        """End every connection, idle or not."""
        with self._open_lock:
            for connection in self._open:
                _cut(connection)


def _cut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # the other side was first


class _Connection(socketserver.StreamRequestHandler):
    """One connection: requests one after another."""

    server: LabHttpServer
    timeout = IDLE_S
    disable_nagle_algorithm = True
    rbufsize = 65_536

    def handle(self) -> None:
        self.server.opened(self.connection)
        try:
            while self._serve_one():
                pass
        except (OSError, ValueError):
            return  # the client went away
        except NoAnswerError:
            _cut(self.connection)
        finally:
            self.server.closed(self.connection)

    def _serve_one(self) -> bool:
        """Answer one request. Returns: whether the connection stays."""
        try:
            environ = self._read_request()
        except _BadRequestError as problem:
            self.wfile.write(_head(f"400 {problem}", [("Content-Length", "0")], keep=False))
            return False
        if environ is None:
            return False
        keep = (
            environ["SERVER_PROTOCOL"] != "HTTP/1.0"
            and str(environ.get("HTTP_CONNECTION", "")).lower() != "close"
        )
        status, headers, body = self._run(environ)
        without_body = environ["REQUEST_METHOD"] == "HEAD"
        self.wfile.write(_head(status, headers, keep=keep) + (b"" if without_body else body))
        return keep

    def _read_request(self) -> "WSGIEnvironment | None":
        line = self.rfile.readline(MAX_LINE_BYTES)
        if not line:
            return None
        parts = line.decode("latin-1").split()
        if len(parts) != 3:
            raise _BadRequestError("Bad Request")
        method, target, version = parts
        headers = self._read_headers()
        if headers.get("HTTP_EXPECT", "").lower() == "100-continue":
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = self._read_body(headers)
        path, _, query = target.partition("?")
        environ: WSGIEnvironment = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "PATH_INFO": _unquoted(path),
            "RAW_URI": target,
            "REQUEST_URI": target,
            "QUERY_STRING": query,
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": str(self.server.port),
            "SERVER_PROTOCOL": version,
            "REMOTE_ADDR": "127.0.0.1",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            **headers,
            "CONTENT_LENGTH": str(len(body)),
        }
        environ["CONTENT_TYPE"] = headers.pop("HTTP_CONTENT_TYPE", "")
        environ.pop("HTTP_CONTENT_LENGTH", None)
        environ.pop("HTTP_CONTENT_TYPE", None)
        return environ

    def _read_headers(self) -> dict[str, str]:
        headers: dict[str, str] = {}
        for _ in range(MAX_HEADERS):
            line = self.rfile.readline(MAX_LINE_BYTES)
            if line in (b"\r\n", b"\n", b""):
                return headers
            name, colon, value = line.decode("latin-1").partition(":")
            if not colon:
                raise _BadRequestError("Bad Request")
            if "_" not in name:  # CGI cannot tell X_Foo from X-Foo
                headers[f"HTTP_{name.strip().upper().replace('-', '_')}"] = value.strip()
        raise _BadRequestError("Request Header Fields Too Large")

    def _read_body(self, headers: dict[str, str]) -> bytes:
        if headers.get("HTTP_TRANSFER_ENCODING", "").lower() == "chunked":
            return self._read_chunks()
        text = headers.get("HTTP_CONTENT_LENGTH", "0")
        if not text.isdigit() or int(text) > MAX_BODY_BYTES:
            raise _BadRequestError("Content Too Large")
        return self.rfile.read(int(text))

    def _read_chunks(self) -> bytes:
        body = b""
        while True:
            size = int(self.rfile.readline(MAX_LINE_BYTES).split(b";")[0], 16)
            if len(body) + size > MAX_BODY_BYTES:
                raise _BadRequestError("Content Too Large")
            chunk = self.rfile.read(size)
            self.rfile.readline(MAX_LINE_BYTES)
            if not size:
                return body
            body += chunk

    def _run(self, environ: "WSGIEnvironment") -> tuple[str, list[tuple[str, str]], bytes]:
        started: list[tuple[str, list[tuple[str, str]]]] = []
        written: list[bytes] = []

        def start_response(
            status: str, headers: list[tuple[str, str]], exc_info: "OptExcInfo | None" = None
        ) -> Callable[[bytes], object]:
            started[:] = [(status, headers)]
            return written.append

        try:
            chunks: Iterable[bytes] = self.server.application(environ, start_response)
            written.extend(chunks)
            close = getattr(chunks, "close", None)
            if close is not None:
                close()
            status, headers = started[-1]
        except NoAnswerError:
            raise
        except Exception:  # noqa: BLE001 — a bug of ours or moto's is an answer, as on AWS
            _LOG.exception("the lab failed at %s", environ.get("PATH_INFO"))
            internal = HTTPStatus.INTERNAL_SERVER_ERROR
            return f"{internal.value} {internal.phrase}", [("Content-Length", "0")], b""
        body = b"".join(written)
        if not any(name.lower() == "content-length" for name, _ in headers):
            headers = [*headers, ("Content-Length", str(len(body)))]
        return status, headers, body


def _unquoted(path: str) -> str:
    from urllib.parse import unquote_to_bytes

    return unquote_to_bytes(path).decode("latin-1")


def _head(status: str, headers: list[tuple[str, str]], *, keep: bool) -> bytes:
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers)]
    lines.append(f"Connection: {'keep-alive' if keep else 'close'}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
