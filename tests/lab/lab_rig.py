"""What the lab's tests share: a clock moved by hand, and a lab on it."""

from dataclasses import dataclass

from botocore.exceptions import ClientError

from scaler.lab.control import LabControl
from scaler.lab.server import LabServer
from scaler.lab.stack import LabClients, create_group
from scaler.loop.clock import SystemClock

START_S = 1_772_460_000.0
"""2026-03-02T14:00:00Z, a full hour: minutes and periods begin with the tests."""


class HandClock(SystemClock):
    """A clock that stands still until a test moves it."""

    def __init__(self, at_s: float = START_S) -> None:
        super().__init__()
        self._at_s = at_s

    def now_s(self) -> float:
        return self._at_s

    def wall_s(self) -> float:
        return self._at_s

    def advance(self, seconds: float) -> None:
        self._at_s += seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Lab:
    """A running lab and everything to talk to it."""

    server: LabServer
    clock: HandClock
    clients: LabClients
    control: LabControl

    def group(self, name: str = "g", *, low: int = 1, high: int = 10, desired: int = 2) -> str:
        """A group whose instances are in service."""
        create_group(self.clients, name, low=low, high=high, desired=desired)
        self.clock.advance(180)
        return name

    def set_desired(self, desired: int, name: str = "g") -> None:
        self.clients.autoscaling.set_desired_capacity(
            AutoScalingGroupName=name, DesiredCapacity=desired
        )

    def described(self, name: str = "g") -> dict:
        answer = self.clients.autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[name])
        return answer["AutoScalingGroups"][0]

    def states(self, name: str = "g") -> list[str]:
        """Lifecycle states, sorted."""
        return sorted(one["LifecycleState"] for one in self.described(name)["Instances"])

    def ids(self, name: str = "g") -> list[str]:
        """Instance ids, oldest first."""
        return [one["InstanceId"] for one in self.described(name)["Instances"]]

    def activities(self, name: str = "g") -> list[dict]:
        answer = self.clients.autoscaling.describe_scaling_activities(AutoScalingGroupName=name)
        return answer["Activities"]


def refusal(call, **params) -> tuple[str, str]:
    """Code and message of the error that a call is refused with."""
    try:
        call(**params)
    except ClientError as error:
        return error.response["Error"]["Code"], error.response["Error"]["Message"]
    raise AssertionError("it was accepted")
