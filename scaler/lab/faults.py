"""Faults on request: what to break, for how often or how long, and how likely."""

import itertools
import random
from dataclasses import dataclass, field
from typing import Literal, get_args

from scaler.lab.errors import AwsError

FaultKind = Literal["throttle", "error500", "timeout", "slow", "launch_failure"]

MAX_FAULTS = 100

LAUNCH_FAILURES = {
    "InsufficientInstanceCapacity": (
        "We currently do not have sufficient {type} capacity in the Availability Zone you "
        "requested ({zone}). Our system will be working on provisioning additional capacity. "
        "Launching EC2 instance failed."
    ),
    "VcpuLimitExceeded": (
        "You have requested more vCPU capacity than your current vCPU limit of 8 allows for the "
        "instance bucket that the specified instance type belongs to. "
        "Launching EC2 instance failed."
    ),
    "MaxSpotInstanceCountExceeded": (
        "Max spot instance count exceeded. Launching EC2 instance failed."
    ),
    "SpotCapacity": (
        "There is no Spot capacity available that matches your request. "
        "Launching EC2 instance failed."
    ),
}
"""Status messages by the code of a fault.

Source: EC2 Auto Scaling User Guide, "Troubleshoot Amazon EC2 Auto Scaling".
"""


@dataclass(slots=True, kw_only=True)
class Fault:
    """One thing that goes wrong.

    Attributes:
        kind: throttle (400, "Rate exceeded"), error500, timeout (no answer for `delay_s`, then
            the connection is cut), slow (an answer after `delay_s`), launch_failure.
        service: botocore's name, such as `autoscaling`; None: every service.
        action: an operation, such as `SetDesiredCapacity`; None: every operation.
        count: how many times it still strikes; None: no such limit.
        until_s: virtual time at which it ends; None: no such limit.
        rate: probability with which it strikes, 0–1.
        delay_s: of timeout and slow, in real seconds: sockets wait in real time.
        applied: of timeout and error500: the request is carried out although nobody hears so.
        group: of launch_failure: the group whose launches fail; None: all.
        code: of launch_failure: a key of LAUNCH_FAILURES, or any text for the status message.
    """

    kind: FaultKind
    service: str | None = None
    action: str | None = None
    count: int | None = None
    until_s: float | None = None
    rate: float = 1.0
    delay_s: float = 60.0
    applied: bool = False
    group: str | None = None
    code: str = "InsufficientInstanceCapacity"
    id: int = 0
    struck: int = 0

    def ended(self, now_s: float) -> bool:
        spent = self.count is not None and self.count <= 0
        return spent or (self.until_s is not None and now_s >= self.until_s)


@dataclass(slots=True)
class Faults:
    """The faults in force. Not thread-safe: used under the world's lock."""

    dice: random.Random
    active: list[Fault] = field(default_factory=list)
    _ids: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def add(self, fault: Fault) -> int:
        """Put a fault in force. Returns: its id. Raises: ValueError beyond MAX_FAULTS."""
        if fault.kind not in get_args(FaultKind):
            raise ValueError(
                f"unknown kind {fault.kind!r}; one of {', '.join(get_args(FaultKind))}"
            )
        if fault.applied and fault.kind not in ("timeout", "error500"):
            raise ValueError(f"a {fault.kind} cannot be applied; only timeout and error500 can")
        if len(self.active) >= MAX_FAULTS:
            raise ValueError(f"{MAX_FAULTS} faults are in force already")
        fault.id = next(self._ids)
        self.active.append(fault)
        return fault.id

    def clear(self, fault_id: int | None = None) -> int:
        """End one fault, or all. Returns: how many ended."""
        kept = [] if fault_id is None else [one for one in self.active if one.id != fault_id]
        ended = len(self.active) - len(kept)
        self.active = kept
        return ended

    def for_call(self, service: str, action: str, now_s: float) -> Fault | None:
        """The fault that strikes this call; its count goes down."""
        for fault in self._in_force(now_s):
            if (
                fault.kind != "launch_failure"
                and fault.service in (None, service)
                and fault.action in (None, action)
                and self._strikes(fault)
            ):
                return fault
        return None

    def for_launch(self, group: str, now_s: float) -> Fault | None:
        """The fault that strikes this launch; its count goes down."""
        for fault in self._in_force(now_s):
            if (
                fault.kind == "launch_failure"
                and fault.group in (None, group)
                and self._strikes(fault)
            ):
                return fault
        return None

    def _in_force(self, now_s: float) -> list[Fault]:
        self.active = [fault for fault in self.active if not fault.ended(now_s)]
        return self.active

    def _strikes(self, fault: Fault) -> bool:
        if fault.rate < 1.0 and self.dice.random() >= fault.rate:
            return False
        fault.struck += 1
        if fault.count is not None:
            fault.count -= 1
        return True


def call_error(fault: Fault, service: str) -> AwsError:
    """What a struck call answers."""
    if fault.kind == "throttle":
        json_style = service in ("ecs", "application-autoscaling")
        return AwsError("ThrottlingException" if json_style else "Throttling", "Rate exceeded")
    code = {"cloudwatch": "InternalServiceError", "ecs": "ServerException"}.get(
        service, "InternalFailure"
    )
    return AwsError(code, "The request failed because of an unknown error.", status=500)


def launch_message(fault: Fault, *, instance_type: str, zone: str) -> str:
    """The status message of a failed launch."""
    template = LAUNCH_FAILURES.get(fault.code)
    return fault.code if template is None else template.format(type=instance_type, zone=zone)
