"""An Auto Scaling group that takes its time.

moto's record holds sizes and settings; the instances and their states are ours. Whatever changes a
size calls `reconcile`, which compares members with desired capacity and launches or ends instances;
each of those is a scaling activity with a beginning and an end.
"""

import random
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from scaler.lab.errors import AwsError, validation_error
from scaler.lab.faults import Faults, launch_message
from scaler.lab.moto_backend import GroupRecord, LaunchFailedError, MotoBackend
from scaler.lab.scaling_policies import ScalingPolicy, adjusted
from scaler.lab.settings import LabSettings
from scaler.lab.timeline import Timeline
from scaler.lab.wire import iso8601

LifecycleState = Literal["Pending", "InService", "Standby", "Terminating", "Terminated"]
MAX_ACTIVITIES = 1000
MAX_GONE = 1000
FORGET_AFTER_S = 3600.0
ALL_PROTECTED = (
    "Could not scale to desired capacity because all remaining instances are protected from "
    "scale-in."
)


@dataclass(slots=True, kw_only=True)
class LabInstance:
    """One instance of a group. Times are virtual Unix seconds; None: not yet."""

    id: str
    group: str
    zone: str
    type: str
    launched_s: float
    state: LifecycleState = "Pending"
    protected: bool = False
    healthy: bool = True
    in_service_s: float | None = None
    terminating_s: float | None = None
    gone_s: float | None = None


@dataclass(slots=True, kw_only=True)
class Activity:
    """A scaling activity, as DescribeScalingActivities shows it."""

    id: str
    description: str
    cause: str
    start_s: float
    zone: str
    end_s: float | None = None
    status: str = "InProgress"
    message: str = ""
    progress: int = 0

    @property
    def in_progress(self) -> bool:
        return self.end_s is None


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceEvent:
    """An instance changed its state."""

    region: str
    group: str
    instance_id: str
    state: LifecycleState
    at_s: float


@dataclass(slots=True, kw_only=True)
class Surroundings:
    """What every group of a region works with."""

    region: str
    timeline: Timeline
    settings: LabSettings
    moto: MotoBackend
    faults: Faults
    dice: random.Random
    emit: Callable[[InstanceEvent], None]

    def new_id(self) -> str:
        """A request or activity id, in the form of a UUID, from the lab's own dice."""
        text = f"{self.dice.getrandbits(128):032x}"
        return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


@dataclass(slots=True)
class ScalingGroup:
    """One group and its instances. Not thread-safe: used under the world's lock."""

    record: GroupRecord
    around: Surroundings
    created_s: float
    default_warmup_s: float | None = None
    instances: dict[str, LabInstance] = field(default_factory=dict)
    gone: deque[LabInstance] = field(default_factory=lambda: deque(maxlen=MAX_GONE))
    activities: deque[Activity] = field(default_factory=lambda: deque(maxlen=MAX_ACTIVITIES))
    billed_gone_s: float = 0.0
    cooldown_until_s: float = 0.0
    _cooldown_after_s: float | None = None
    _retry_s: float = 0.0
    _retry_scheduled: bool = False
    _retries: int = 0
    _cause: str = ""
    _blocked_noted: bool = False

    @property
    def name(self) -> str:
        return self.record.name

    def members(self) -> list[LabInstance]:
        """Instances that count towards desired capacity, in order of launch."""
        return [one for one in self.instances.values() if one.state in ("Pending", "InService")]

    def suspended(self, process: str) -> bool:
        return any(one["ProcessName"] == process for one in self.record.suspended_processes)

    def activity_in_progress(self) -> Activity | None:
        return next((one for one in reversed(self.activities) if one.in_progress), None)

    def billed_s(self) -> float:
        """Instance seconds from launch to gone, so far: what the group costs in machine time."""
        now_s = self.around.timeline.now_s
        return self.billed_gone_s + sum(now_s - one.launched_s for one in self.instances.values())

    # --- what callers ask for ---

    def request_capacity(self, desired: int, *, honor_cooldown: bool) -> None:
        """SetDesiredCapacity.

        Raises: AwsError out of bounds, or when a cooldown is to be honoured and one runs.
        """
        if desired > self.record.max_size:
            raise validation_error(
                f"New SetDesiredCapacity value {desired} is above max value "
                f"{self.record.max_size} for the AutoScalingGroup."
            )
        if desired < self.record.min_size:
            raise validation_error(
                f"New SetDesiredCapacity value {desired} is below min value "
                f"{self.record.min_size} for the AutoScalingGroup."
            )
        if honor_cooldown:
            self.refuse_when_busy()
        before = self.record.desired_capacity
        if desired != before:
            self.set_desired(
                desired,
                cause="a user request explicitly set group desired capacity changing the "
                f"desired capacity from {before} to {desired}.",
            )

    def refuse_when_busy(self) -> None:
        """Raises: AwsError while an activity or a cooldown runs."""
        running = self.activity_in_progress()
        if running is not None:
            raise AwsError(
                "ScalingActivityInProgress",
                f"Scaling activity {running.id} is in progress and blocks this action",
            )
        if self.around.timeline.now_s < self.cooldown_until_s:
            last = self.activities[-1].id if self.activities else self.around.new_id()
            raise AwsError(
                "ScalingActivityInProgress",
                f"Scaling activity {last} is in cooldown and blocks this action",
            )

    def set_desired(self, desired: int, *, cause: str) -> None:
        """Change desired capacity for the stated reason; the group follows on its own."""
        self.record.desired_capacity = desired
        self._cause = f"At {self._now()} {cause}"
        self._blocked_noted = False
        self._retry_s = 0.0
        self._retry_scheduled = False
        # At once in virtual time, but not inside the request: AWS answers first and acts later.
        self.around.timeline.after(0.0, self.reconcile)

    def run_policy(
        self,
        policy: ScalingPolicy,
        *,
        honor_cooldown: bool,
        cause: str,
        offset: float | None = None,
    ) -> str:
        """Execute a policy. Returns: what came of it, in words; empty when capacity changed.

        Args: offset is metric value − threshold, which step policies need.
        Raises: AwsError when a simple policy meets an activity or a cooldown to be honoured.
        """
        record = self.record
        before = record.desired_capacity
        if policy.type == "SimpleScaling":
            if honor_cooldown:
                self.refuse_when_busy()
            wanted = self._adjusted(policy, before, policy.adjustment)
        elif policy.type == "StepScaling":
            wanted = self._stepped(policy, offset)
        else:
            raise validation_error(f"{policy.type} policies cannot be executed.")
        wanted = min(max(wanted, record.min_size), record.max_size)
        if wanted == before:
            return "no change of capacity"
        if policy.type == "SimpleScaling":
            default_s = record.default_cooldown
            self._cooldown_after_s = default_s if policy.cooldown_s is None else policy.cooldown_s
        self.set_desired(
            wanted, cause=f"{cause} changing the desired capacity from {before} to {wanted}."
        )
        return ""

    def _adjusted(self, policy: ScalingPolicy, base: int, adjustment: int) -> int:
        if policy.adjustment_type is None:
            raise validation_error("The policy has no AdjustmentType.")
        return adjusted(
            base,
            kind=policy.adjustment_type,
            adjustment=adjustment,
            min_magnitude=policy.min_magnitude,
        )

    def _stepped(self, policy: ScalingPolicy, offset: float | None) -> int:
        """Warming instances count for a further scale-out, and block a scale-in."""
        before = self.record.desired_capacity
        step = next(
            (one for one in policy.steps if offset is not None and one.contains(offset)), None
        )
        if step is None:
            return before
        now_s = self.around.timeline.now_s
        warmup_s = policy.warmup_s
        if warmup_s is None:
            warmup_s = self.default_warmup_s
        if warmup_s is None:
            warmup_s = self.record.default_cooldown
        warming = sum(
            one.in_service_s is None or now_s < one.in_service_s + warmup_s
            for one in self.members()
        )
        wanted = self._adjusted(policy, before - warming, step.adjustment)
        if self._adjusted(policy, before, step.adjustment) < before:
            return before if warming else wanted
        return max(before, wanted)

    def end_instance(self, instance_id: str, *, decrement: bool) -> Activity:
        """TerminateInstanceInAutoScalingGroup: this instance, protected or not.

        Raises: AwsError at the group's minimum, or for an instance that is not here.
        """
        instance = self.instances[instance_id]
        record = self.record
        counted = instance.state in ("Pending", "InService")
        if decrement and counted:
            if record.desired_capacity <= record.min_size:
                raise validation_error(
                    f"Currently, desiredSize equals minSize ({record.min_size}). Terminating "
                    "instance without replacement will violate group's min size constraint. "
                    "Either set shouldDecrementDesiredCapacity flag to false or lower group's "
                    "min size."
                )
            record.desired_capacity -= 1
        before = record.desired_capacity + (1 if decrement and counted else 0)
        shrinking = (
            f", shrinking the capacity from {before} to {record.desired_capacity}"
            if decrement
            else ""
        )
        activity = self._terminate(
            instance,
            cause=f"At {self._now()} instance {instance_id} was taken out of service in response "
            f"to a user request{shrinking}.",
        )
        self.around.timeline.after(0.0, self.reconcile)
        return activity

    def replace_unhealthy(self, instance: LabInstance, *, why: str) -> None:
        """A failed instance leaves, protected or not, and is replaced."""
        instance.healthy = False
        if self.suspended("ReplaceUnhealthy") or instance.state not in ("Pending", "InService"):
            return
        self._terminate(
            instance,
            cause=f"At {self._now()} an instance was taken out of service in response to {why}.",
        )
        self.around.timeline.after(0.0, self.reconcile)

    def enter_standby(self, ids: Sequence[str], *, decrement: bool) -> list[Activity]:
        """Set instances aside.

        Raises: AwsError below the minimum or for an instance that is not in service.
        """
        instances = [self._in_state(one, "InService") for one in ids]
        if decrement and self.record.desired_capacity - len(ids) < self.record.min_size:
            raise validation_error(
                f"AutoScalingGroup {self.name} has min-size={self.record.min_size}, "
                f"max-size={self.record.max_size}, and desired-size="
                f"{self.record.desired_capacity}. To place into standby {len(ids)} more "
                "instances, please update the AutoScalingGroup sizes appropriately."
            )
        if decrement:
            self.record.desired_capacity -= len(ids)
        activities = []
        for instance in instances:
            self._enter(instance, "Standby")
            self.around.moto.leave_group(self.around.region, self.record, instance.id)
            activities.append(
                self._instant(f"Moving EC2 instance to Standby: {instance.id}", instance)
            )
        self.around.timeline.after(0.0, self.reconcile)
        return activities

    def exit_standby(self, ids: Sequence[str]) -> list[Activity]:
        """Bring instances back; desired capacity rises by their number."""
        instances = [self._in_state(one, "Standby") for one in ids]
        if self.record.desired_capacity + len(ids) > self.record.max_size:
            raise validation_error(
                f"AutoScalingGroup {self.name} has max-size={self.record.max_size}; moving "
                f"{len(ids)} instances out of standby would exceed it."
            )
        self.record.desired_capacity += len(ids)
        activities = []
        for instance in instances:
            self._serve(instance)
            activities.append(
                self._instant(f"Moving EC2 instance out of Standby: {instance.id}", instance)
            )
        return activities

    def _in_state(self, instance_id: str, state: LifecycleState) -> LabInstance:
        instance = self.instances.get(instance_id)
        if instance is None:
            raise validation_error(
                f"The instance {instance_id} is not part of Auto Scaling group {self.name}."
            )
        if instance.state != state:
            raise validation_error(f"The instance {instance_id} is not in {state}.")
        return instance

    def protect(self, ids: Sequence[str], *, protected: bool) -> None:
        """SetInstanceProtection.

        Raises: AwsError for an instance of another group or not in service; nothing changes then.
        """
        instances = []
        for instance_id in ids:
            instance = self.instances.get(instance_id)
            if instance is None:
                raise validation_error(
                    f"The instance {instance_id} is not part of Auto Scaling group {self.name}."
                )
            if instance.state not in ("InService", "Standby"):
                raise validation_error(
                    f"The instance {instance_id} is not in InService or EnteringStandby or Standby."
                )
            instances.append(instance)
        for instance in instances:
            instance.protected = protected
        self._blocked_noted = False
        self.around.timeline.after(0.0, self.reconcile)

    # --- what the group does by itself ---

    def reconcile(self) -> None:
        """Launch or end instances until members match desired capacity."""
        gap = self.record.desired_capacity - len(self.members())
        if gap > 0 and not self.suspended("Launch"):
            self._launch(gap)
        elif gap < 0 and not self.suspended("Terminate"):
            self._shrink(-gap)
        self._start_cooldown_when_done()

    def _launch(self, count: int) -> None:
        now_s = self.around.timeline.now_s
        if self._retry_scheduled and now_s < self._retry_s:
            return
        for _ in range(count):
            zone = self._zone_with_fewest()
            try:
                self._launch_one(zone)
            except LaunchFailedError as failure:
                self._fail_launch(str(failure), zone)
                return
        self._retry_scheduled = False
        self._retries = 0

    def _launch_one(self, zone: str) -> None:
        around = self.around
        fault = around.faults.for_launch(self.name, around.timeline.now_s)
        if fault is not None:
            kind = self.record.instance_type
            raise LaunchFailedError(launch_message(fault, instance_type=kind, zone=zone))
        size = len(self.members())
        instance = LabInstance(
            id=around.moto.launch_instance(around.region, self.record, zone),
            group=self.name,
            zone=zone,
            type=self.record.instance_type,
            launched_s=around.timeline.now_s,
            protected=self.record.new_instances_protected_from_scale_in,
        )
        self.instances[instance.id] = instance
        self._tell(instance)
        activity = self._begin(
            f"Launching a new EC2 instance: {instance.id}",
            cause=f"{self._cause}  At {self._now()} an instance was started in response to a "
            f"difference between desired and actual capacity, increasing the capacity from "
            f"{size} to {size + 1}.".strip(),
            zone=zone,
            status="PreInService",
        )
        boot_s = around.settings.boot_draw_s(around.dice)
        around.timeline.after(boot_s, lambda: self._booted(instance, activity))

    def _booted(self, instance: LabInstance, activity: Activity) -> None:
        if instance.state != "Pending":  # it was ended while booting
            self._finish(activity, status="Cancelled")
            return
        self._serve(instance)
        self._finish(activity)
        self.reconcile()

    def _serve(self, instance: LabInstance) -> None:
        around = self.around
        instance.in_service_s = around.timeline.now_s
        self._enter(instance, "InService")
        around.moto.join_group(
            around.region, self.record, instance.id, protected=instance.protected
        )

    def _fail_launch(self, message: str, zone: str) -> None:
        settings = self.around.settings
        size = len(self.members())
        activity = self._begin(
            f"Launching a new EC2 instance.  Status Reason: {message}",
            cause=f"{self._cause}  At {self._now()} an instance was started in response to a "
            f"difference between desired and actual capacity, increasing the capacity from "
            f"{size} to {self.record.desired_capacity}.".strip(),
            zone=zone,
        )
        self._finish(activity, status="Failed", message=message)
        wait_s = settings.launch_retry_s * min(5, 2**self._retries)
        self._retries = min(self._retries + 1, 10)
        self._retry_s = self.around.timeline.now_s + wait_s
        self._retry_scheduled = True
        self.around.timeline.at(self._retry_s, self._retry)

    def _retry(self) -> None:
        if self._retry_scheduled and self.around.timeline.now_s >= self._retry_s:
            self._retry_scheduled = False
            self.reconcile()

    def _zone_with_fewest(self) -> str:
        counts = Counter(one.zone for one in self.members())
        return min(self.record.availability_zones, key=lambda zone: counts[zone])

    def _shrink(self, count: int) -> None:
        size = len(self.members())
        victims = choose_victims(self.members(), count, policies=self.record.termination_policies)
        for index, victim in enumerate(victims):
            self._terminate(
                victim,
                cause=f"{self._cause}  At {self._now()} an instance was taken out of service in "
                f"response to a difference between desired and actual capacity, shrinking the "
                f"capacity from {size - index} to {size - index - 1}.".strip(),
            )
        if len(victims) < count and not self._blocked_noted:
            self._blocked_noted = True
            activity = self._begin("Terminating EC2 instances", cause=self._cause, zone="")
            self._finish(activity, status="Cancelled", message=ALL_PROTECTED)

    def _terminate(self, instance: LabInstance, *, cause: str) -> Activity:
        around = self.around
        self._enter(instance, "Terminating")
        instance.terminating_s = around.timeline.now_s
        around.moto.leave_group(around.region, self.record, instance.id)
        activity = self._begin(
            f"Terminating EC2 instance: {instance.id}", cause=cause, zone=instance.zone
        )
        around.timeline.after(
            around.settings.terminate_s, lambda: self._terminated(instance, activity)
        )
        return activity

    def _terminated(self, instance: LabInstance, activity: Activity) -> None:
        around = self.around
        now_s = around.timeline.now_s
        instance.gone_s = now_s
        self.billed_gone_s += now_s - instance.launched_s
        self.instances.pop(instance.id, None)
        self.gone.append(instance)
        self._enter(instance, "Terminated")
        around.moto.end_instance(around.region, instance.id)
        around.timeline.after(
            FORGET_AFTER_S, lambda: around.moto.forget_instance(around.region, instance.id)
        )
        self._finish(activity)
        self.reconcile()

    def end_all(self) -> None:
        """The group is deleted by force."""
        for instance in list(self.instances.values()):
            if instance.state != "Terminating":
                self._terminate(instance, cause=f"At {self._now()} the group was deleted.")
        self.record.desired_capacity = 0

    def _start_cooldown_when_done(self) -> None:
        if self._cooldown_after_s is None or self.activity_in_progress() is not None:
            return
        if len(self.members()) == self.record.desired_capacity:
            self.cooldown_until_s = self.around.timeline.now_s + self._cooldown_after_s
            self._cooldown_after_s = None

    # --- activities ---

    def _begin(
        self, description: str, *, cause: str, zone: str, status: str = "InProgress"
    ) -> Activity:
        activity = Activity(
            id=self.around.new_id(),
            description=description,
            cause=cause,
            start_s=self.around.timeline.now_s,
            zone=zone,
            status=status,
        )
        self.activities.append(activity)
        return activity

    def _finish(self, activity: Activity, *, status: str = "Successful", message: str = "") -> None:
        activity.end_s = self.around.timeline.now_s
        activity.status = status
        activity.message = message
        activity.progress = 100

    def _instant(self, description: str, instance: LabInstance) -> Activity:
        activity = self._begin(
            description,
            cause=f"At {self._now()} instance {instance.id} was moved in response to a user "
            "request.",
            zone=instance.zone,
        )
        self._finish(activity)
        return activity

    def _enter(self, instance: LabInstance, state: LifecycleState) -> None:
        instance.state = state
        self._tell(instance)

    def _tell(self, instance: LabInstance) -> None:
        self.around.emit(
            InstanceEvent(
                region=self.around.region,
                group=self.name,
                instance_id=instance.id,
                state=instance.state,
                at_s=self.around.timeline.now_s,
            )
        )

    def _now(self) -> str:
        return iso8601(self.around.timeline.now_s).partition(".")[0] + "Z"


def choose_victims(
    members: Iterable[LabInstance], count: int, *, policies: Sequence[str]
) -> list[LabInstance]:
    """Whom a scale-in ends: unprotected ones of the zone with most instances, one after another.

    Within the zone: the oldest, or the newest when the policy says so; instances in service go
    before booting ones. Source: EC2 Auto Scaling User Guide, "Termination policies" (the oldest
    launch template and the billing hour do not tell instances apart here).
    """
    left = list(members)
    newest_first = bool(policies) and policies[0] == "NewestInstance"
    victims: list[LabInstance] = []
    while len(victims) < count:
        free = [one for one in left if not one.protected]
        if not free:
            break
        crowd = Counter(one.zone for one in left)
        fullest = max(crowd[one.zone] for one in free)
        victim = min(
            (one for one in free if crowd[one.zone] == fullest),
            key=lambda one: (
                one.state == "Pending",
                -one.launched_s if newest_first else one.launched_s,
            ),
        )
        victims.append(victim)
        left.remove(victim)
    return victims
