"""The client of the lab's control API, for tests, the demo and scripts. Standard library only."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar
from urllib.parse import urlencode

from scaler.model.errors import RefusedError, UnreachableError

T = TypeVar("T")
TIMEOUT_S = 10.0
POLL_S = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceView:
    """One instance as the lab sees it. Times are virtual Unix seconds; None: not yet."""

    id: str
    zone: str
    state: str
    protected: bool
    launched_s: float
    in_service_s: float | None
    terminating_s: float | None
    gone_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupView:
    """One group as the lab sees it.

    Attributes:
        instances: those alive; gone: those that ended lately.
        billed_s: instance seconds from launch to gone, so far.
    """

    desired: int
    min: int
    max: int
    in_service: int
    billed_s: float
    instances: Sequence[InstanceView]
    gone: Sequence[InstanceView]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceView:
    """One ECS service as the lab sees it."""

    desired: int
    running: int
    pending: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmView:
    """One alarm as the lab sees it."""

    state: str
    reason: str
    since_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionView:
    """One region as the lab sees it. Services are keyed `cluster/name`."""

    groups: Mapping[str, GroupView] = field(default_factory=dict)
    services: Mapping[str, ServiceView] = field(default_factory=dict)
    alarms: Mapping[str, AlarmView] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedCall:
    """A call that reached the endpoint. `status` 0: it was never answered."""

    number: int
    at_s: float
    service: str
    action: str
    region: str
    params: Mapping[str, object]
    status: int
    error: str


class LabControl:
    """Break things, and see what happened.

    Args: url of the lab; region that `group`, `service` and `alarm` look at.
    Every method raises UnreachableError when the lab does not answer and RefusedError when it
    declines.
    """

    def __init__(self, url: str, *, region: str = "us-east-1") -> None:
        self._url = url.rstrip("/")
        self._region = region

    def fault(  # noqa: PLR0913 — one optional argument for each field of a fault
        self,
        kind: Literal["throttle", "error500", "timeout", "slow", "launch_failure"],
        *,
        service: str | None = None,
        action: str | None = None,
        count: int | None = None,
        seconds: float | None = None,
        rate: float = 1.0,
        delay_s: float = 60.0,
        applied: bool = False,
        group: str | None = None,
        code: str = "InsufficientInstanceCapacity",
    ) -> int:
        """Put a fault in force. Returns: its id.

        Args:
            service, action: botocore's service name and the operation; None: all.
            count, seconds: it ends after so many strikes, or virtual seconds; None: when cleared.
            rate: probability with which it strikes.
            delay_s: real seconds of `timeout` and `slow`.
            applied: a `timeout` or `error500` whose request is carried out all the same.
            group, code: of `launch_failure`: whose launches fail, and why.
        """
        wanted = {
            "kind": kind,
            "service": service,
            "action": action,
            "count": count,
            "seconds": seconds,
            "rate": rate,
            "delay_s": delay_s,
            "applied": applied,
            "group": group,
            "code": code,
        }
        answer = self._ask("POST", "/lab/faults", wanted)
        return int(str(answer["id"]))

    def clear_faults(self, fault_id: int | None = None) -> None:
        """End one fault, or all."""
        suffix = "" if fault_id is None else f"?id={fault_id}"
        self._ask("DELETE", f"/lab/faults{suffix}")

    def state(self) -> dict[str, object]:
        """The whole state as the lab's JSON document."""
        return self._ask("GET", "/lab/state")

    def now_s(self) -> float:
        """The lab's virtual time."""
        return float(str(self.state()["now_s"]))

    def region(self) -> RegionView:
        """The region's groups, services and alarms; empty before the first call to it."""
        regions = _mapping(self.state()["regions"])
        return _region(_mapping(regions.get(self._region, {})))

    def group(self, name: str) -> GroupView:
        """One group. Raises: RefusedError when there is none of this name."""
        return _named(self.region().groups, name, "group")

    def service(self, name: str) -> ServiceView:
        """One ECS service, by `cluster/name`. Raises: RefusedError when there is none."""
        return _named(self.region().services, name, "service")

    def alarm(self, name: str) -> AlarmView:
        """One alarm. Raises: RefusedError when there is none of this name."""
        return _named(self.region().alarms, name, "alarm")

    def calls(
        self, *, service: str | None = None, action: str | None = None, after: int = 0
    ) -> list[RecordedCall]:
        """Calls that reached the endpoint, oldest first, numbered from 1."""
        asked = {"after": after, "service": service, "action": action}
        query = urlencode({key: value for key, value in asked.items() if value is not None})
        answer = self._ask("GET", f"/lab/requests?{query}")
        found = answer["requests"]
        return [_call(_mapping(one)) for one in found] if isinstance(found, list) else []

    def forget_calls(self) -> None:
        """Drop the recorded calls."""
        self._ask("DELETE", "/lab/requests")

    def wait_until(
        self, condition: Callable[[], bool], *, what: str, timeout_s: float = 10.0
    ) -> None:
        """Poll until the condition holds.

        Args: timeout_s in real seconds; what completes "gave up waiting until …".
        Raises: TimeoutError, with the lab's state in the message.
        """
        deadline_s = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"gave up waiting until {what}: {json.dumps(self.state())}")
            time.sleep(POLL_S)

    def _ask(
        self, method: str, path: str, document: Mapping[str, object] | None = None
    ) -> dict[str, object]:
        body = None
        if document is not None:
            given = {key: value for key, value in document.items() if value is not None}
            body = json.dumps(given).encode()
        request = urllib.request.Request(self._url + path, data=body, method=method)  # noqa: S310 — the lab's own http address
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310 — as above
                return dict(_mapping(json.loads(answer.read())))
        except urllib.error.HTTPError as refused:
            with refused:
                raise RefusedError(
                    f"the lab declined {method} {path}", why=refused.read().decode()
                ) from None
        except (OSError, ValueError) as problem:
            raise UnreachableError(f"no lab at {self._url}", why=str(problem)) from None


def _named(found: Mapping[str, T], name: str, kind: str) -> T:
    if name not in found:
        raise RefusedError(
            f"the lab has no {kind} {name}", why=f"it has {', '.join(found) or 'none'}"
        )
    return found[name]


def _mapping(value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise ValueError(f"not a JSON object: {value!r}")
    return value


def _items(value: object) -> list[Mapping[str, object]]:
    return [_mapping(one) for one in value] if isinstance(value, list) else []


def _number(value: object) -> float:
    return float(str(value))


def _time(value: object) -> float | None:
    return None if value is None else _number(value)


def _region(shown: Mapping[str, object]) -> RegionView:
    return RegionView(
        groups={name: _group(_mapping(one)) for name, one in _part(shown, "groups").items()},
        services={
            name: ServiceView(
                desired=int(_number(service["desired"])),
                running=int(_number(service["running"])),
                pending=int(_number(service["pending"])),
            )
            for name, one in _part(shown, "services").items()
            for service in (_mapping(one),)
        },
        alarms={
            name: AlarmView(
                state=str(alarm["state"]),
                reason=str(alarm["reason"]),
                since_s=_number(alarm["since_s"]),
            )
            for name, one in _part(shown, "alarms").items()
            for alarm in (_mapping(one),)
        },
    )


def _part(shown: Mapping[str, object], name: str) -> Mapping[str, object]:
    return _mapping(shown.get(name, {}))


def _group(shown: Mapping[str, object]) -> GroupView:
    return GroupView(
        desired=int(_number(shown["desired"])),
        min=int(_number(shown["min"])),
        max=int(_number(shown["max"])),
        in_service=int(_number(shown["in_service"])),
        billed_s=_number(shown["billed_s"]),
        instances=tuple(_instance(one) for one in _items(shown["instances"])),
        gone=tuple(_instance(one) for one in _items(shown["gone"])),
    )


def _instance(shown: Mapping[str, object]) -> InstanceView:
    return InstanceView(
        id=str(shown["id"]),
        zone=str(shown["zone"]),
        state=str(shown["state"]),
        protected=bool(shown["protected"]),
        launched_s=_number(shown["launched_s"]),
        in_service_s=_time(shown["in_service_s"]),
        terminating_s=_time(shown["terminating_s"]),
        gone_s=_time(shown["gone_s"]),
    )


def _call(shown: Mapping[str, object]) -> RecordedCall:
    return RecordedCall(
        number=int(_number(shown["number"])),
        at_s=_number(shown["at_s"]),
        service=str(shown["service"]),
        action=str(shown["action"]),
        region=str(shown["region"]),
        params=_mapping(shown["params"]),
        status=int(_number(shown["status"])),
        error=str(shown["error"]),
    )
