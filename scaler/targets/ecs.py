"""An ECS service: its desired count, or the floor under somebody else's autoscaling."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, assert_never

from scaler.model.change import Change, EndWorkers, Outcome, SetDesired, SetFloor
from scaler.model.readings import Capacity, Missing
from scaler.targets.aws import AwsCalls, Clients, Trouble, redact
from scaler.targets.compare import ComparedCount, refused

if TYPE_CHECKING:
    from mypy_boto3_application_autoscaling import ApplicationAutoScalingClient
    from mypy_boto3_application_autoscaling.type_defs import ScalableTargetTypeDef
    from mypy_boto3_ecs import ECSClient
    from mypy_boto3_ecs.type_defs import DeploymentTypeDef, ServiceEventTypeDef, ServiceTypeDef

START_FAILURES = (
    "is unable to consistently start tasks successfully",
    "was unable to place a task",
    "failed to launch a task",
    "failed to start",
)
"""What service events say about tasks that do not start (ECS Developer Guide, "Service event
messages"); `has reached a steady state` takes it back."""

CHOOSES_ITSELF = "ECS chooses which tasks to stop; lower the count instead"


def resource_id(cluster: str, service: str) -> str:
    """The service as Application Auto Scaling names it; a cluster's or service's ARN will do."""
    return f"service/{cluster.rsplit('/', 1)[-1]}/{service.rsplit('/', 1)[-1]}"


def capacity_of(service: "ServiceTypeDef") -> Capacity:
    """A service as ECS describes it. Pure.

    ECS counts no task that is stopping, and tells protection only task by task: `terminating` and
    `protected` stay zero. It has no limits of its own.
    """
    whole = _blocked(service)
    deployments = service.get("deployments", [])
    return Capacity(
        desired=service["desiredCount"],
        in_service=service["runningCount"],
        pending=service["pendingCount"],
        blocked_out=whole or _failed_deployment(deployments),
        blocked_in=whole or _deploying(deployments),
        launch_failure=start_failure(service.get("events", [])),
    )


def start_failure(events: Sequence["ServiceEventTypeDef"]) -> str | None:
    """The newest event about tasks that do not start, unless the service became steady since.

    `events` are newest first, as DescribeServices gives them.
    """
    for event in events:
        message = event.get("message", "")
        if "has reached a steady state" in message:
            return None
        if any(sign in message for sign in START_FAILURES):
            return redact(message)
    return None


def _blocked(service: "ServiceTypeDef") -> str | None:
    if service["status"] == "DRAINING":
        return "the service is being deleted (DRAINING)"
    if service.get("schedulingStrategy") == "DAEMON":
        return "a DAEMON service runs one task on each instance; its count cannot be set"
    return None


def _deploying(deployments: Sequence["DeploymentTypeDef"]) -> str | None:
    """Several deployments, or one that has not completed: `INACTIVE` ones are history."""
    live = [deployment for deployment in deployments if deployment.get("status") != "INACTIVE"]
    rolling = any(deployment.get("rolloutState") == "IN_PROGRESS" for deployment in live)
    return "a deployment is in progress" if rolling or len(live) > 1 else None


def _failed_deployment(deployments: Sequence["DeploymentTypeDef"]) -> str | None:
    """A failed primary deployment launches nothing more (API reference, rolloutState)."""
    for deployment in deployments:
        if deployment.get("status") == "PRIMARY" and deployment.get("rolloutState") == "FAILED":
            why = redact(deployment.get("rolloutStateReason", "no reason given"))
            return f"the deployment failed and starts no more tasks ({why})"
    return None


class EcsService:
    """Reads one service; both targets below are made of it."""

    def __init__(
        self, cluster: str, service: str, *, clients: "Clients[ECSClient]", calls: AwsCalls
    ) -> None:
        self.cluster = cluster
        self.service = service
        self.clients = clients
        self.calls = calls

    async def look(self) -> Capacity | Missing:
        """The service as it is."""
        answer = await self.calls.read(
            self.clients.read.describe_services, cluster=self.cluster, services=[self.service]
        )
        named = f"service {self.service} in cluster {self.cluster}"
        if isinstance(answer, Trouble):
            return answer.missing(f"no reading of {named}")
        services = answer.get("services", [])
        if not services:
            reasons = {failure.get("reason", "?") for failure in answer.get("failures", [])}
            return Missing(f"no {named} ({', '.join(sorted(reasons)) or 'not listed'})")
        if services[0]["status"] == "INACTIVE":
            return Missing(f"{named} is INACTIVE: it was deleted; create it or rename the target")
        return capacity_of(services[0])


class EcsTarget:
    """The Target port on a service's desired count (`mode: desired_count`).

    Args: `now` is our monotonic time in seconds.
    """

    def __init__(self, service: EcsService, *, now: Callable[[], float]) -> None:
        self._service = service
        self._now = now
        self._count = ComparedCount(look=self.describe, now=now, noun="desired count")

    async def describe(self) -> Capacity | Missing:
        """The service as it is."""
        asked_at_s = self._now()
        seen = await self._service.look()
        return seen if isinstance(seen, Missing) else self._count.saw(seen, asked_at_s=asked_at_s)

    async def apply(self, change: Change) -> Outcome:
        """UpdateService with the count alone: that starts no deployment."""
        match change:
            case SetDesired():
                return await self._count.apply(change, lambda: self._update(change.desired))
            case EndWorkers():
                return refused(CHOOSES_ITSELF)
            case SetFloor():
                return refused("this target sets the count; a floor needs mode: floor")
            case _ as never:
                assert_never(never)

    async def _update(self, desired: int) -> object | Trouble:
        service = self._service
        return await service.calls.write(
            service.clients.write.update_service,
            cluster=service.cluster,
            service=service.service,
            desiredCount=desired,
        )


class EcsFloorTarget:
    """The Target port on the MinCapacity of a service's scalable target (`mode: floor`).

    AWS's own policies above the floor stay as they are. Moving the floor pulls the present count
    into the range at once, which is what a scale-out by floor is. A deployment in progress does
    not block lowering it: that stops no task by itself.

    Args: `now` is our monotonic time in seconds.
    """

    def __init__(
        self,
        service: EcsService,
        *,
        scaling: "Clients[ApplicationAutoScalingClient]",
        now: Callable[[], float],
    ) -> None:
        self._service = service
        self._scaling = scaling
        self._now = now
        self._resource_id = resource_id(service.cluster, service.service)
        self._count = ComparedCount(look=self.describe, now=now, noun="the floor")

    async def describe(self) -> Capacity | Missing:
        """The floor as `desired`, the service's tasks, and MaxCapacity as the limit."""
        asked_at_s = self._now()
        limits = await self._limits()
        if isinstance(limits, Missing):
            return limits
        tasks = await self._service.look()
        if isinstance(tasks, Missing):
            return tasks
        seen = replace(
            tasks,
            desired=limits["MinCapacity"],
            target_max=limits["MaxCapacity"],
            blocked_in=None,
        )
        return self._count.saw(seen, asked_at_s=asked_at_s)

    async def apply(self, change: Change) -> Outcome:
        """RegisterScalableTarget with MinCapacity alone: it changes only what it names."""
        match change:
            case SetFloor():
                return await self._count.apply(change, lambda: self._register(change.desired))
            case SetDesired():
                return refused("this target moves the floor; the count needs mode: desired_count")
            case EndWorkers():
                return refused(CHOOSES_ITSELF)
            case _ as never:
                assert_never(never)

    async def _limits(self) -> "ScalableTargetTypeDef | Missing":
        answer = await self._service.calls.read(
            self._scaling.read.describe_scalable_targets,
            ServiceNamespace="ecs",
            ResourceIds=[self._resource_id],
            ScalableDimension="ecs:service:DesiredCount",
        )
        if isinstance(answer, Trouble):
            return answer.missing(f"no reading of the floor of {self._resource_id}")
        for target in answer.get("ScalableTargets", []):
            if target["ResourceId"] == self._resource_id:
                return target
        return Missing(
            f"{self._resource_id} is not registered with Application Auto Scaling, so it has no "
            "floor; register it with a minimum and a maximum, or use mode: desired_count"
        )

    async def _register(self, floor: int) -> object | Trouble:
        return await self._service.calls.write(
            self._scaling.write.register_scalable_target,
            ServiceNamespace="ecs",
            ResourceId=self._resource_id,
            ScalableDimension="ecs:service:DesiredCount",
            MinCapacity=floor,
        )
