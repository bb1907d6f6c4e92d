"""An HTTP forwarder that notes which AWS operations passed: who of two daemons asked for what."""

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, urlsplit


class RecordingProxy:
    """Forwards to `upstream`; `actions` lists the operations in the order of their arrival."""

    def __init__(self, upstream: str) -> None:
        self.actions: list[str] = []
        actions, address = self.actions, urlsplit(upstream).netloc

        class Forwarder(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                actions.append(_action(self.path, dict(self.headers), body))
                connection = http.client.HTTPConnection(address, timeout=30)
                try:
                    connection.request("POST", self.path, body, dict(self.headers))
                    answer = connection.getresponse()
                    text = answer.read()
                finally:
                    connection.close()
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in ("connection", "content-length", "transfer-encoding"):
                        self.send_header(name, value)
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Forwarder)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _action(path: str, headers: dict[str, str], body: bytes) -> str:
    """The operation: of a query (`Action=`), of JSON (`X-Amz-Target`), or in the path (CBOR)."""
    known = {name.lower(): value for name, value in headers.items()}
    if "x-amz-target" in known:
        return known["x-amz-target"].rpartition(".")[2]
    if "/operation/" in path:
        return path.rpartition("/")[2]
    if known.get("content-encoding") == "gzip":
        return "a compressed body, so PutMetricData"
    return parse_qs(body.decode())["Action"][0]
