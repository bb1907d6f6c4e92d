"""An EC2 Auto Scaling group: its real instance states, and writes that never fight it."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, assert_never

from scaler.model.change import Change, EndWorkers, Outcome, SetDesired, SetFloor
from scaler.model.readings import Capacity, Missing
from scaler.targets.aws import AwsCalls, Clients, Trouble, redact
from scaler.targets.compare import SETTLE_S, ComparedCount, refused

if TYPE_CHECKING:
    from mypy_boto3_autoscaling import AutoScalingClient
    from mypy_boto3_autoscaling.type_defs import (
        ActivityTypeDef,
        AutoScalingGroupTypeDef,
        InstanceRefreshTypeDef,
        InstanceTypeDef,
    )

SIDE_POLL_S = 60.0
"""Refreshes and scaling activities are asked for this often: all calls share one token bucket."""

SHORT_POLL_S = 10.0
"""Scaling activities, while the group is short of instances."""

REFRESH_MEMORY_S = 300.0
"""A refresh that was seen running counts as running for so long while AWS does not answer."""

END_BUDGET_S = 8.0
"""No further worker is ended after this many seconds of one `apply()`; the next tick goes on."""

Standing = Literal["pending", "in_service", "terminating", "standby", "warmed", "gone"]

LIFECYCLE: Mapping[str, Standing] = {
    "Pending": "pending",
    "Pending:Wait": "pending",
    "Pending:Proceed": "pending",
    "InService": "in_service",
    # Its root volume is being replaced: it still counts in desired, and comes back by itself.
    "ReplacingRootVolume": "pending",
    "ReplacingRootVolume:Wait": "pending",
    "ReplacingRootVolume:Proceed": "pending",
    "RootVolumeReplaced": "pending",
    "Terminating": "terminating",
    "Terminating:Wait": "terminating",
    "Terminating:Proceed": "terminating",
    # Kept for an operator after a failed hook, outside desired, until somebody ends it by name.
    "Terminating:Retained": "standby",
    "Terminated": "gone",
    "EnteringStandby": "standby",
    "Standby": "standby",
    "Detaching": "standby",
    "Detached": "gone",
    "Quarantined": "gone",
    "Warmed:Pending": "warmed",
    "Warmed:Pending:Wait": "warmed",
    "Warmed:Pending:Proceed": "warmed",
    "Warmed:Pending:Retained": "warmed",
    "Warmed:Terminating": "warmed",
    "Warmed:Terminating:Wait": "warmed",
    "Warmed:Terminating:Proceed": "warmed",
    "Warmed:Terminating:Retained": "warmed",
    "Warmed:Terminated": "gone",
    "Warmed:Stopped": "warmed",
    "Warmed:Running": "warmed",
    "Warmed:Hibernated": "warmed",
}
"""Every lifecycle state of the API reference (LifecycleState); an unknown one serves nobody."""

REFRESHING = frozenset({"Pending", "InProgress", "Cancelling", "RollbackInProgress", "Baking"})
"""States of an instance refresh that is not over (InstanceRefreshStatus)."""

LAUNCH_FAILURES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("no spot capacity", ("there is no spot capacity available",)),
    ("spot quota reached", ("maxspotinstancecountexceeded", "max spot instance count exceeded")),
    (
        "on-demand quota reached",
        ("vcpulimitexceeded", "vcpu limit of", "instance(s) are already running"),
    ),
    ("no on-demand capacity", ("insufficientinstancecapacity", "do not have sufficient")),
    ("spot price cap", ("is lower than the minimum required spot request fulfillment price",)),
    (
        "wrong configuration",
        ("does not exist", "not supported in your requested availability", "client.internalerror"),
    ),
)
"""Classes of launch failures by what AWS writes (EC2 Auto Scaling User Guide, "Troubleshoot")."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """What is asked for rarely: a running refresh's status, and the last launch's failure.

    The times are those of the last question, of the last answer about refreshes.
    """

    refresh: str | None = None
    refresh_asked_s: float | None = None
    refresh_known_s: float | None = None
    launch_failure: str | None = None
    activities_asked_s: float | None = None


def standing(instance: "InstanceTypeDef", *, ended: Iterable[str] = ()) -> Standing:
    """What an instance is to us; one that we have just ended is terminating, whatever it says."""
    state = LIFECYCLE.get(instance.get("LifecycleState", ""), "gone")
    return "terminating" if state == "in_service" and instance["InstanceId"] in ended else state


def capacity_of(
    group: "AutoScalingGroupTypeDef", *, sides: Sides | None = None, ended: Iterable[str] = ()
) -> Capacity:
    """A group as AWS describes it, counted in instances. Pure."""
    sides = sides or Sides()
    instances = group.get("Instances", [])
    states = [standing(instance, ended=ended) for instance in instances]
    protected = sum(
        1
        for instance, state in zip(instances, states, strict=True)
        if state == "in_service" and instance.get("ProtectedFromScaleIn", False)
    )
    return Capacity(
        desired=group["DesiredCapacity"],
        in_service=states.count("in_service"),
        pending=states.count("pending"),
        terminating=states.count("terminating"),
        standby=states.count("standby"),
        protected=protected,
        warmed=group.get("WarmPoolSize", states.count("warmed")),
        target_min=group["MinSize"],
        target_max=group["MaxSize"],
        blocked_out=_blocked(group, "Launch"),
        blocked_in=_blocked(group, "Terminate") or _refreshing(sides.refresh),
        launch_failure=sides.launch_failure,
    )


def suspended(group: "AutoScalingGroupTypeDef") -> Mapping[str, str]:
    """The group's suspended processes with the reason for each."""
    return {
        process.get("ProcessName", ""): redact(process.get("SuspensionReason", ""))
        for process in group.get("SuspendedProcesses", [])
    }


def launch_failure(activities: Sequence["ActivityTypeDef"]) -> str | None:
    """The newest finished launch's failure, named by class; None when that launch succeeded.

    "Newest" goes by start time. A launch under way says nothing yet, and neither does one that was
    cancelled without a word (desired capacity fell meanwhile).
    """
    finished = [
        activity
        for activity in activities
        if activity.get("Description", "").startswith("Launching")
        and (activity["StatusCode"] == "Successful" or _failed(activity))
    ]
    newest = max(finished, key=lambda activity: activity["StartTime"], default=None)
    if newest is None or newest["StatusCode"] == "Successful":
        return None
    words = newest.get("StatusMessage", "no reason given")
    return redact(f"{failure_class(words)}: {words}")


def _failed(activity: "ActivityTypeDef") -> bool:
    """DescribeScalingActivities: a failed launch is `Failed`, or `Cancelled` with a message."""
    return activity["StatusCode"] == "Failed" or (
        activity["StatusCode"] == "Cancelled" and bool(activity.get("StatusMessage"))
    )


def failure_class(words: str) -> str:
    """The class of a launch failure by AWS's words; `launch failed` when they are new to us."""
    lowered = words.lower()
    for name, signs in LAUNCH_FAILURES:
        if any(sign in lowered for sign in signs):
            return name
    return "launch failed"


def running_refresh(refreshes: Sequence["InstanceRefreshTypeDef"]) -> str | None:
    """The status of the refresh that is not over, if any; a group has at most one."""
    statuses = [refresh.get("Status", "") for refresh in refreshes]
    return next((status for status in statuses if status in REFRESHING), None)


def _blocked(group: "AutoScalingGroupTypeDef", process: str) -> str | None:
    if status := group.get("Status"):
        return f"the group is being deleted ({status})"
    reasons = suspended(group)
    if process not in reasons:
        return None
    return f"the group's {process} process is suspended ({reasons[process] or 'no reason given'})"


def _refreshing(status: str | None) -> str | None:
    return None if status is None else f"an instance refresh is in progress ({status})"


class AsgTarget:
    """The Target port on an EC2 Auto Scaling group.

    Args: `now` is our monotonic time in seconds; `end_budget_s` bounds how long one `apply()` goes
    on ending workers, by the process's own clock.
    """

    def __init__(
        self,
        name: str,
        *,
        clients: "Clients[AutoScalingClient]",
        calls: AwsCalls,
        now: Callable[[], float],
        end_budget_s: float = END_BUDGET_S,
    ) -> None:
        self.name = name
        self._clients = clients
        self._calls = calls
        self._now = now
        self._end_budget_s = end_budget_s
        self._count = ComparedCount(look=self._look, now=now, noun="desired capacity")
        self._sides = Sides()
        self._ended_s: dict[str, float] = {}

    async def describe(self) -> Capacity | Missing:
        """The group as it is, with its instance refresh and its launch failures."""
        asked_at_s = self._now()
        group = await self._group()
        if isinstance(group, Missing):
            return group
        await self._ask_refreshes(asked_at_s)
        await self._ask_activities(asked_at_s, short=_is_short(group))
        return self._counted(group, asked_at_s)

    async def apply(self, change: Change) -> Outcome:
        """Compare, then write; a change that the group cannot make is refused."""
        match change:
            case SetDesired():
                return await self._count.apply(change, lambda: self._set_desired(change.desired))
            case EndWorkers():
                return await self._end_workers(change)
            case SetFloor():
                return refused("an Auto Scaling group has no floor to move; only ecs targets have")
            case _ as never:
                assert_never(never)

    async def _look(self) -> Capacity | Missing:
        asked_at_s = self._now()
        group = await self._group()
        return group if isinstance(group, Missing) else self._counted(group, asked_at_s)

    def _counted(self, group: "AutoScalingGroupTypeDef", asked_at_s: float) -> Capacity:
        settled_s = asked_at_s - SETTLE_S
        self._ended_s = {name: at_s for name, at_s in self._ended_s.items() if at_s > settled_s}
        seen = capacity_of(group, sides=self._sides, ended=self._ended_s)
        return self._count.saw(seen, asked_at_s=asked_at_s)

    async def _group(self) -> "AutoScalingGroupTypeDef | Missing":
        answer = await self._calls.read(
            self._clients.read.describe_auto_scaling_groups, AutoScalingGroupNames=[self.name]
        )
        if isinstance(answer, Trouble):
            return answer.missing(f"no reading of group {self.name}")
        for group in answer.get("AutoScalingGroups", []):
            if group["AutoScalingGroupName"] == self.name:
                return group
        return Missing(
            f"no Auto Scaling group {self.name} in {self._clients.read.meta.region_name}; "
            "check the target's name and aws.region"
        )

    async def _ask_refreshes(self, at_s: float) -> None:
        sides = self._sides
        if sides.refresh_asked_s is not None and at_s - sides.refresh_asked_s < SIDE_POLL_S:
            return
        answer = await self._calls.read(
            self._clients.read.describe_instance_refreshes, AutoScalingGroupName=self.name
        )
        if not isinstance(answer, Trouble):
            running = running_refresh(answer.get("InstanceRefreshes", []))
            sides = replace(sides, refresh=running, refresh_known_s=at_s)
        elif sides.refresh_known_s is None or at_s - sides.refresh_known_s > REFRESH_MEMORY_S:
            sides = replace(sides, refresh=None)  # not known, and not knowing does not block
        self._sides = replace(sides, refresh_asked_s=at_s)

    async def _ask_activities(self, at_s: float, *, short: bool) -> None:
        sides = self._sides
        every_s = SHORT_POLL_S if short else SIDE_POLL_S
        if sides.activities_asked_s is not None and at_s - sides.activities_asked_s < every_s:
            return
        answer = await self._calls.read(
            self._clients.read.describe_scaling_activities, AutoScalingGroupName=self.name
        )
        if not isinstance(answer, Trouble):
            sides = replace(sides, launch_failure=launch_failure(answer.get("Activities", [])))
        self._sides = replace(sides, activities_asked_s=at_s)

    async def _set_desired(self, desired: int) -> object | Trouble:
        return await self._calls.write(
            self._clients.write.set_desired_capacity,
            AutoScalingGroupName=self.name,
            DesiredCapacity=desired,
            HonorCooldown=False,  # true is refused while anything happens; cooldowns are ours
        )

    async def _end_workers(self, change: EndWorkers) -> Outcome:
        began_s, began_real_s = self._now(), time.monotonic()
        group = await self._group()  # always fresh: what we end must be what was decided about
        if isinstance(group, Missing):
            return refused(f"not written, since the target could not be read: {group.reason}")
        capacity = self._counted(group, began_s)
        endable, skipped, gone = self._victims(change, group)
        if gone:
            return Outcome(kind="unchanged", reason=_listed(skipped))
        if capacity.desired != change.current:
            return refused(
                f"desired capacity is now {capacity.desired}, "
                f"the decision was made at {change.current}"
            )
        if capacity.blocked_in is not None:
            return refused(capacity.blocked_in)
        ended, stopped = await self._end_each(
            endable, skipped, capacity, until_s=began_real_s + self._end_budget_s
        )
        return _ended_outcome(change, ended, skipped, stopped, took_s=self._now() - began_s)

    def _victims(
        self, change: EndWorkers, group: "AutoScalingGroupTypeDef"
    ) -> tuple[list[str], dict[str, str], bool]:
        """Who may be ended; who not, and why; whether all of them are gone already."""
        instances = {instance["InstanceId"]: instance for instance in group.get("Instances", [])}
        endable: list[str] = []
        skipped: dict[str, str] = {}
        gone = True
        for worker in dict.fromkeys(change.workers):
            instance = instances.get(worker)
            if instance is None:
                skipped[worker] = "not in the group"
                continue
            state = standing(instance, ended=self._ended_s)
            if state == "terminating":
                skipped[worker] = "already terminating"
                continue
            gone = False
            if state != "in_service":
                skipped[worker] = f"{instance['LifecycleState']}, not InService"
            elif instance.get("ProtectedFromScaleIn", False):
                skipped[worker] = "protected from scale-in"
            else:
                endable.append(worker)
        return endable, skipped, gone

    async def _end_each(
        self, endable: list[str], skipped: dict[str, str], capacity: Capacity, *, until_s: float
    ) -> tuple[list[str], Trouble | None]:
        """Ends one after another; the trouble that stopped it, where one did. Adds to `skipped`."""
        ended: list[str] = []
        stands = capacity.desired
        for worker in endable:
            if stands <= (capacity.target_min or 0):
                skipped[worker] = f"the group's own minimum of {stands} is reached"
                continue
            if ended and time.monotonic() >= until_s:
                skipped[worker] = "out of time, the next tick goes on"
                continue
            answer = await self._calls.write(
                self._clients.write.terminate_instance_in_auto_scaling_group,
                InstanceId=worker,
                ShouldDecrementDesiredCapacity=True,
            )
            if isinstance(answer, Trouble):
                self._count.forget()
                skipped[worker] = answer.reason
                if answer.kind != "refused":
                    return ended, answer
                continue
            ended.append(worker)
            self._ended_s[worker] = self._now()
            self._count.wrote(before=stands, after=stands - 1)
            stands -= 1
        return ended, None


def _is_short(group: "AutoScalingGroupTypeDef") -> bool:
    return capacity_of(group).in_service < group["DesiredCapacity"]


def _listed(skipped: Mapping[str, str]) -> str:
    return ", ".join(f"{worker}: {why}" for worker, why in skipped.items())


def _ended_outcome(
    change: EndWorkers,
    ended: Sequence[str],
    skipped: Mapping[str, str],
    stopped: Trouble | None,
    *,
    took_s: float,
) -> Outcome:
    """One outcome for many small writes: the least certain of them gives the kind."""
    reason = f"ended {len(ended)} of {len(change.workers)}"
    if skipped:
        reason += f" ({_listed(skipped)})"
    if stopped is not None and stopped.kind == "unknown":
        return Outcome(kind="unknown", reason=reason, took_s=took_s)
    kind: Literal["applied", "refused"] = "applied" if ended else "refused"
    return Outcome(kind=kind, reason=reason, took_s=took_s)
