"""Somebody else's scaling on a target of ours: two masters make a fleet oscillate.

Looked for once, at start; found conflicts are warned about, never removed.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

from scaler.model.readings import Missing
from scaler.targets.asg import suspended
from scaler.targets.aws import AwsCalls, Clients, Trouble
from scaler.targets.ecs import resource_id

if TYPE_CHECKING:
    from mypy_boto3_application_autoscaling import ApplicationAutoScalingClient
    from mypy_boto3_application_autoscaling import type_defs as aas
    from mypy_boto3_autoscaling import AutoScalingClient
    from mypy_boto3_autoscaling import type_defs as asg

PageT = TypeVar("PageT")

MAX_ITEMS = 500
"""Policies or scheduled actions read; AWS's quotas are 50 and 125 for a group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """One thing that scales the same target.

    Attributes:
        name: the policy's or scheduled action's name.
        what: a clause that says what it does to the target.
        fix: one sentence.
    """

    name: str
    what: str
    fix: str

    def __str__(self) -> str:
        return f"{self.name} {self.what}; {self.fix}"


class ConflictFinder(Protocol):
    """Whoever can tell what else scales a target."""

    async def find_conflicts(self) -> tuple[Conflict, ...] | Missing:
        """All of them; `Missing` when AWS would not say, which is not "none"."""
        ...


class AsgConflicts:
    """Scaling policies and scheduled actions on an Auto Scaling group.

    Args: `safety_net_policy` names the one policy that is there on purpose; None: there is none.
    """

    def __init__(
        self,
        name: str,
        *,
        clients: "Clients[AutoScalingClient]",
        calls: AwsCalls,
        safety_net_policy: str | None = None,
    ) -> None:
        self._name = name
        self._read = clients.read
        self._calls = calls
        self._safety_net_policy = safety_net_policy

    async def find_conflicts(self) -> tuple[Conflict, ...] | Missing:
        """Policies that can act, and scheduled actions that set desired capacity."""
        groups = await self._calls.read(
            self._read.describe_auto_scaling_groups, AutoScalingGroupNames=[self._name]
        )
        if isinstance(groups, Trouble):
            return groups.missing(f"no list of conflicts on {self._name}")
        policies = await self._policies()
        if isinstance(policies, Trouble):
            return policies.missing(f"no list of policies on {self._name}")
        actions = await self._actions()
        if isinstance(actions, Trouble):
            return actions.missing(f"no list of scheduled actions on {self._name}")
        off = {
            process for group in groups.get("AutoScalingGroups", []) for process in suspended(group)
        }
        found = [
            self._policy_conflict(policy)
            for policy in policies
            if policy.get("PolicyName") != self._safety_net_policy and _acts(policy, off)
        ]
        if "ScheduledActions" not in off:
            found += [self._action_conflict(a) for a in actions if "DesiredCapacity" in a]
        return tuple(found)

    async def _policies(self) -> "list[asg.ScalingPolicyTypeDef] | Trouble":
        pages = self._read.get_paginator("describe_policies").paginate(
            AutoScalingGroupName=self._name, PaginationConfig={"MaxItems": MAX_ITEMS}
        )
        answer = await self._calls.read(_drain, pages)
        if isinstance(answer, Trouble):
            return answer
        return [entry for page in answer for entry in page.get("ScalingPolicies", [])]

    async def _actions(self) -> "list[asg.ScheduledUpdateGroupActionTypeDef] | Trouble":
        pages = self._read.get_paginator("describe_scheduled_actions").paginate(
            AutoScalingGroupName=self._name, PaginationConfig={"MaxItems": MAX_ITEMS}
        )
        answer = await self._calls.read(_drain, pages)
        if isinstance(answer, Trouble):
            return answer
        return [entry for page in answer for entry in page.get("ScheduledUpdateGroupActions", [])]

    def _policy_conflict(self, policy: "asg.ScalingPolicyTypeDef") -> Conflict:
        kind = policy.get("PolicyType", "SimpleScaling")
        fix = (
            "Delete it, set it to forecast only, or use it instead of this fleet."
            if kind == "PredictiveScaling"
            else "Delete it, or suspend the group's AlarmNotification process, or name it as the "
            "fleet's safety_net_policy."
        )
        return Conflict(
            name=policy.get("PolicyName", "a policy without a name"),
            what=f"({kind}) also sets the desired capacity of {self._name}",
            fix=fix,
        )

    def _action_conflict(self, action: "asg.ScheduledUpdateGroupActionTypeDef") -> Conflict:
        return Conflict(
            name=action.get("ScheduledActionName", "a scheduled action"),
            what=f"(scheduled action) also sets the desired capacity of {self._name}",
            fix="Let it set only the group's minimum and maximum, or move it into a schedule "
            "policy of this fleet.",
        )


class EcsConflicts:
    """Application Auto Scaling on a service: on its desired count, or on its floor.

    Above a floor AWS's policies are welcome; only a scheduled action that moves the floor fights.
    """

    def __init__(
        self,
        cluster: str,
        service: str,
        *,
        scaling: "Clients[ApplicationAutoScalingClient]",
        calls: AwsCalls,
        floor: bool,
        safety_net_policy: str | None = None,
    ) -> None:
        self._resource_id = resource_id(cluster, service)
        self._read = scaling.read
        self._calls = calls
        self._floor = floor
        self._safety_net_policy = safety_net_policy

    async def find_conflicts(self) -> tuple[Conflict, ...] | Missing:
        """Policies and scheduled actions of the service that can act."""
        targets = await self._calls.read(
            self._read.describe_scalable_targets,
            ServiceNamespace="ecs",
            ResourceIds=[self._resource_id],
            ScalableDimension="ecs:service:DesiredCount",
        )
        if isinstance(targets, Trouble):
            return targets.missing(f"no list of conflicts on {self._resource_id}")
        policies = await self._policies()
        if isinstance(policies, Trouble):
            return policies.missing(f"no list of policies on {self._resource_id}")
        actions = await self._actions()
        if isinstance(actions, Trouble):
            return actions.missing(f"no list of scheduled actions on {self._resource_id}")
        off = [target.get("SuspendedState", {}) for target in targets.get("ScalableTargets", [])]
        found: list[Conflict] = []
        if not self._floor and not any(_inert(state) for state in off):
            found += [
                self._policy_conflict(policy)
                for policy in policies
                if policy["PolicyName"] != self._safety_net_policy and not _forecasts(policy)
            ]
        if not any(state.get("ScheduledScalingSuspended", False) for state in off):
            found += [self._action_conflict(a) for a in actions if self._fights(a)]
        return tuple(found)

    def _fights(self, action: "aas.ScheduledActionTypeDef") -> bool:
        sets = action.get("ScalableTargetAction", {})
        return "MinCapacity" in sets or (not self._floor and "MaxCapacity" in sets)

    async def _policies(self) -> "list[aas.ScalingPolicyTypeDef] | Trouble":
        pages = self._read.get_paginator("describe_scaling_policies").paginate(
            ServiceNamespace="ecs",
            ResourceId=self._resource_id,
            ScalableDimension="ecs:service:DesiredCount",
            PaginationConfig={"MaxItems": MAX_ITEMS},
        )
        answer = await self._calls.read(_drain, pages)
        if isinstance(answer, Trouble):
            return answer
        return [entry for page in answer for entry in page.get("ScalingPolicies", [])]

    async def _actions(self) -> "list[aas.ScheduledActionTypeDef] | Trouble":
        pages = self._read.get_paginator("describe_scheduled_actions").paginate(
            ServiceNamespace="ecs",
            ResourceId=self._resource_id,
            ScalableDimension="ecs:service:DesiredCount",
            PaginationConfig={"MaxItems": MAX_ITEMS},
        )
        answer = await self._calls.read(_drain, pages)
        if isinstance(answer, Trouble):
            return answer
        return [entry for page in answer for entry in page.get("ScheduledActions", [])]

    def _policy_conflict(self, policy: "aas.ScalingPolicyTypeDef") -> Conflict:
        return Conflict(
            name=policy["PolicyName"],
            what=f"({policy['PolicyType']}) also sets the desired count of {self._resource_id}",
            fix="Delete it, or suspend dynamic scaling on the scalable target, or let this fleet "
            "move the floor under it with mode: floor.",
        )

    def _action_conflict(self, action: "aas.ScheduledActionTypeDef") -> Conflict:
        return Conflict(
            name=action["ScheduledActionName"],
            what=f"(scheduled action) also moves the limits of {self._resource_id}",
            fix="Delete it, or suspend scheduled scaling on the scalable target, or move it into "
            "a schedule policy of this fleet.",
        )


def _drain(pages: Iterable[PageT]) -> list[PageT]:
    """All pages, in the thread that this runs in."""
    return list(pages)


def _acts(policy: "asg.ScalingPolicyTypeDef", off: set[str]) -> bool:
    """Whether it can change the group: not disabled, and not made inert by a suspended process.

    Predictive scaling listens to no alarm, so suspending AlarmNotification does not stop it.
    """
    if policy.get("Enabled") is False:
        return False
    if policy.get("PolicyType") == "PredictiveScaling":
        configured = policy.get("PredictiveScalingConfiguration", {})
        return configured.get("Mode") == "ForecastAndScale"
    return "AlarmNotification" not in off


def _inert(state: "aas.SuspendedStateTypeDef") -> bool:
    return state.get("DynamicScalingInSuspended", False) and state.get(
        "DynamicScalingOutSuspended", False
    )


def _forecasts(policy: "aas.ScalingPolicyTypeDef") -> bool:
    """Predictive scaling that only forecasts scales nothing."""
    return policy["PolicyType"] == "PredictiveScaling" and (
        policy.get("PredictiveScalingPolicyConfiguration", {}).get("Mode") != "ForecastAndScale"
    )
