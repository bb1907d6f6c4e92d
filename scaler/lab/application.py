"""The endpoint as a WSGI application: faults first, then our operations, then moto's.

`/lab/…` is the control API; everything else is AWS.
"""

import gzip
import io
import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from scaler.lab import control_api
from scaler.lab.errors import AwsError
from scaler.lab.faults import Fault, call_error
from scaler.lab.moto_backend import MotoAnswer
from scaler.lab.operations import OPERATIONS, OVERLAYS, REFUSED
from scaler.lab.params import Params
from scaler.lab.wire import (
    MODELLED,
    Answer,
    Call,
    HttpAnswer,
    decode,
    encode,
    encode_error,
    identify,
)
from scaler.lab.world import World

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

MAX_BODY_BYTES = 8_000_000
MAX_METRIC_BODY_BYTES = 1_000_000


class NoAnswerError(Exception):
    """The connection is to be cut without an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Done:
    """A request carried out: its answer, and what the record of calls keeps of it."""

    answer: HttpAnswer
    params: Mapping[str, object]
    error: str = ""


class LabApplication:
    """One lab's endpoint."""

    def __init__(self, world: World) -> None:
        self._world = world

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        path = str(environ.get("PATH_INFO", ""))
        body = _read_body(environ)
        if path.startswith("/lab/"):
            answer = control_api.answer(
                self._world,
                method=str(environ["REQUEST_METHOD"]),
                path=path,
                query=str(environ.get("QUERY_STRING", "")),
                body=body,
            )
            return _respond(answer, start_response)
        call = identify(
            authorization=str(environ.get("HTTP_AUTHORIZATION", "")),
            target=str(environ.get("HTTP_X_AMZ_TARGET", "")),
            content_type=str(environ.get("CONTENT_TYPE", "")),
            body=body,
        )
        if call is None:
            return _respond(_as_it_came(self._world.moto.pass_on(environ)), start_response)
        return _respond(self._answer(call, environ), start_response)

    def _answer(self, call: Call, environ: "WSGIEnvironment") -> HttpAnswer:
        """The answer to a call, after the fault that strikes it.

        Raises: NoAnswerError when nobody is to hear one.
        """
        world = self._world
        with world.entered():
            fault = world.faults.for_call(call.service, call.action, world.timeline.now_s)
            request_id = f"{next(world.request_ids):032x}"
        if fault is None or fault.kind == "slow" or fault.applied:
            done = self._carry_out(call, environ, request_id)
        else:
            done = _struck(call, fault, _loose_params(call), request_id)
        if fault is not None and fault.kind == "error500" and fault.applied:
            done = _struck(call, fault, done.params, request_id)
        silent = fault is not None and fault.kind == "timeout"
        world.record(
            service=call.service,
            action=call.action,
            region=call.region,
            params=done.params,
            status=0 if silent else done.answer.status,
            error="timeout" if silent else done.error,
            size_bytes=len(call.body),
        )
        if fault is not None and fault.kind in ("slow", "timeout"):
            world.stopped_within(fault.delay_s)
        if silent:
            raise NoAnswerError
        return done.answer

    def _carry_out(self, call: Call, environ: "WSGIEnvironment", request_id: str) -> _Done:
        params: Mapping[str, object] = {}
        key = (call.service, call.action)
        try:
            if key in REFUSED:
                raise AwsError("NotImplemented", f"The lab does not do {key[1]}: {REFUSED[key]}.")
            if key not in OPERATIONS and key not in OVERLAYS:
                answer = self._world.moto.pass_on(environ)
                return _Done(
                    answer=_readable(answer, call, request_id),
                    params=_loose_params(call),
                    error="" if answer.status < 400 else str(answer.status),
                )
            _check_body(call)
            read = decode(call)
            params = read.values
            return self._operate(call, read, request_id)
        except AwsError as error:
            answer_ = encode_error(call, error, request_id=request_id)
            return _Done(answer=answer_, params=params, error=error.code)

    def _operate(self, call: Call, params: Params, request_id: str) -> _Done:
        key = (call.service, call.action)
        with self._world.entered():
            region = self._world.region(call.region)
            answer: Answer | MotoAnswer
            if key in OPERATIONS:
                answer = OPERATIONS[key](region, params)
            else:
                answer = OVERLAYS[key](region, params, call)
        if isinstance(answer, MotoAnswer):
            error = "" if answer.status < 400 else str(answer.status)
            readable = _readable(answer, call, request_id)
            return _Done(answer=readable, params=params.values, error=error)
        encoded = encode(call, answer, request_id=request_id)
        return _Done(answer=encoded, params=params.values)


def _struck(call: Call, fault: Fault, params: Mapping[str, object], request_id: str) -> _Done:
    """What a fault answers in place of the service."""
    error = call_error(fault, call.service)
    answer = encode_error(call, error, request_id=request_id)
    return _Done(answer=answer, params=params, error=error.code)


def _read_body(environ: "WSGIEnvironment") -> bytes:
    """The body, unpacked, and put back for moto."""
    length = int(environ.get("CONTENT_LENGTH") or 0)
    body = bytes(environ["wsgi.input"].read(min(length, MAX_BODY_BYTES)))
    if environ.get("HTTP_CONTENT_ENCODING") == "gzip":
        try:
            body = gzip.decompress(body)
        except (OSError, EOFError, zlib.error):
            body = b""
        del environ["HTTP_CONTENT_ENCODING"]
    environ["wsgi.input"] = io.BytesIO(body)
    environ["CONTENT_LENGTH"] = str(len(body))
    return body


def _check_body(call: Call) -> None:
    """PutMetricData takes 1 MB a request. Source: API reference, PutMetricData; counted here after
    unpacking, since the reference does not say which."""
    if call.action == "PutMetricData" and len(call.body) > MAX_METRIC_BODY_BYTES:
        raise AwsError(
            "RequestEntityTooLarge", "Request size limit exceeded: 1 MB per request.", status=413
        )


def _loose_params(call: Call) -> Mapping[str, object]:
    """Parameters for the record of calls, as far as they can be read."""
    try:
        if call.service in MODELLED:
            return decode(call).values
        if call.protocol == "query":
            return dict(parse_qsl(call.body.decode(errors="replace")))
        loaded = json.loads(call.body or b"{}")
    except (AwsError, ValueError):
        return {}
    return loaded if isinstance(loaded, dict) else {}


def _as_it_came(answer: MotoAnswer) -> HttpAnswer:
    return HttpAnswer(status=answer.status, headers=answer.headers, body=answer.body)


def _readable(answer: MotoAnswer, call: Call, request_id: str) -> HttpAnswer:
    """moto's answer; a crash of it becomes an error that a client can read."""
    if answer.crash:
        message = f"moto failed at {call.action}: {answer.crash}"
        error = AwsError("InternalFailure", message, status=500)
        return encode_error(call, error, request_id=request_id)
    return _as_it_came(answer)


def _respond(answer: HttpAnswer, start_response: "StartResponse") -> Iterable[bytes]:
    headers = [one for one in answer.headers if one[0].lower() != "content-length"]
    headers.append(("Content-Length", str(len(answer.body))))
    start_response(f"{answer.status} {HTTPStatus(answer.status).phrase}", headers)
    return [answer.body]
