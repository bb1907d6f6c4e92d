"""The IAM actions that each target needs, by what it does. Data; a test holds it to the calls made.

Each action is the API operation of the same name. Describe calls of both Auto Scaling services know
no resource level, so a policy has to name `*` for them (Service Authorization Reference, "Amazon
EC2 Auto Scaling", "AWS Application Auto Scaling", "Amazon Elastic Container Service").
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

TargetKind = Literal["asg", "ecs_desired_count", "ecs_floor"]
Feature = Literal["describe", "set_desired", "end_workers", "set_floor", "find_conflicts"]


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Permission:
    """One IAM action.

    Attributes:
        action: as a policy writes it.
        scope: what its Resource can be narrowed to; `*`: AWS has no resource level for it.
    """

    action: str
    scope: Literal["*", "group", "service", "scalable_target"]


_GROUPS = Permission(action="autoscaling:DescribeAutoScalingGroups", scope="*")
_SCALABLE_TARGETS = Permission(action="application-autoscaling:DescribeScalableTargets", scope="*")
_SERVICES = Permission(action="ecs:DescribeServices", scope="service")
_ECS_CONFLICTS = (
    _SCALABLE_TARGETS,
    Permission(action="application-autoscaling:DescribeScalingPolicies", scope="*"),
    Permission(action="application-autoscaling:DescribeScheduledActions", scope="*"),
)

PERMISSIONS: Mapping[TargetKind, Mapping[Feature, tuple[Permission, ...]]] = {
    "asg": {
        "describe": (
            _GROUPS,
            Permission(action="autoscaling:DescribeInstanceRefreshes", scope="*"),
            Permission(action="autoscaling:DescribeScalingActivities", scope="*"),
        ),
        "set_desired": (
            _GROUPS,
            Permission(action="autoscaling:SetDesiredCapacity", scope="group"),
        ),
        "end_workers": (
            _GROUPS,
            Permission(action="autoscaling:TerminateInstanceInAutoScalingGroup", scope="group"),
        ),
        "find_conflicts": (
            _GROUPS,
            Permission(action="autoscaling:DescribePolicies", scope="*"),
            Permission(action="autoscaling:DescribeScheduledActions", scope="*"),
        ),
    },
    "ecs_desired_count": {
        "describe": (_SERVICES,),
        "set_desired": (_SERVICES, Permission(action="ecs:UpdateService", scope="service")),
        "find_conflicts": _ECS_CONFLICTS,
    },
    "ecs_floor": {
        "describe": (_SERVICES, _SCALABLE_TARGETS),
        "set_floor": (
            _SERVICES,
            _SCALABLE_TARGETS,
            Permission(
                action="application-autoscaling:RegisterScalableTarget", scope="scalable_target"
            ),
        ),
        "find_conflicts": _ECS_CONFLICTS,
    },
}

CALLED_FOR_US: Mapping[TargetKind, tuple[Permission, ...]] = {
    "ecs_floor": (_SERVICES, Permission(action="ecs:UpdateService", scope="service")),
}
"""What AWS checks against the caller although the caller calls something else: registering an ECS
service needs these (Application Auto Scaling User Guide, "Identity-based policy examples")."""


def permissions(kind: TargetKind, features: Iterable[Feature]) -> tuple[Permission, ...]:
    """All that a target of this kind needs for these features, sorted, each once.

    A feature that the kind does not have needs nothing: the target refuses it without a call.
    """
    wanted = set(features)
    needed = {permission for feature in wanted for permission in PERMISSIONS[kind].get(feature, ())}
    if "set_floor" in wanted:
        needed |= set(CALLED_FOR_US.get(kind, ()))
    return tuple(sorted(needed))
