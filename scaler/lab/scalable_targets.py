"""Application Auto Scaling: bounds on a service, kept as AWS keeps them.

Every RegisterScalableTarget, even one that only suspends, pulls the service's desired count into
the bounds. Source: Application Auto Scaling API reference, RegisterScalableTarget. moto records the
target and answers the describes.
"""

import json

from scaler.lab.errors import AwsError
from scaler.lab.moto_backend import MotoAnswer
from scaler.lab.params import Params
from scaler.lab.region import Region, ScalableTarget
from scaler.lab.wire import Answer, Call

DIMENSION = "ecs:service:DesiredCount"


def register_scalable_target(region: Region, params: Params, call: Call) -> Answer | MotoAnswer:
    resource = params.need_text("ResourceId")
    namespace, dimension = (
        params.need_text("ServiceNamespace"),
        params.need_text("ScalableDimension"),
    )
    low, high = params.integer("MinCapacity"), params.integer("MaxCapacity")
    before = region.scalable_targets.get(resource)
    if before is None and (low is None or high is None):
        raise AwsError(
            "ValidationException",
            "Minimum and maximum capacity are required when a scalable target is registered.",
        )
    target = ScalableTarget(
        low=low if low is not None else (before.low if before else 0),
        high=high if high is not None else (before.high if before else 0),
    )
    if target.low < 0 or target.high < 0:
        raise AwsError("ValidationException", "Capacity must not be negative.")
    if target.low > target.high:
        raise AwsError(
            "ValidationException", "Maximum capacity cannot be less than minimum capacity"
        )
    if namespace == "ecs" and dimension == DIMENSION:
        _, _, path = resource.partition("service/")
        cluster, _, name = path.partition("/")
        service = region.services.get((cluster, name))
        if service is None or service.deleted:
            raise AwsError("ValidationException", f"ECS service doesn't exist: {resource}")
    else:
        service = None
    answer = region.around.moto.json(
        "application-autoscaling",
        region.name,
        target="AnyScaleFrontendService.RegisterScalableTarget",
        params=json.loads(call.body),
    )
    if answer.status >= 400:
        return answer
    region.scalable_targets[resource] = target
    if service is not None:
        clamped = min(max(service.desired, target.low), target.high)
        if clamped != service.desired:
            service.set_desired(clamped)
    return answer


def deregister_scalable_target(region: Region, params: Params, call: Call) -> Answer | MotoAnswer:
    answer = region.around.moto.json(
        "application-autoscaling",
        region.name,
        target="AnyScaleFrontendService.DeregisterScalableTarget",
        params=json.loads(call.body),
    )
    if answer.status < 400:
        region.scalable_targets.pop(params.need_text("ResourceId"), None)
    return answer


def describe_scaling_activities(region: Region, params: Params) -> Answer:
    """None: the lab runs no policies of Application Auto Scaling."""
    return {"ScalingActivities": []}
