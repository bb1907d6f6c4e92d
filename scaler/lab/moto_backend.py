"""The one file that touches moto: its HTTP application and the few objects of it that we drive.

moto keeps what a group or a service *is* (sizes, template, tags, zones, target groups) and the EC2
instances behind it. When an instance starts and ends, and in which state it is meanwhile, is ours:
moto counts only InService members, so it sees an instance from InService to Terminating and never
a Pending one.

Each lab has an account of its own in moto's process-wide memory, so that several labs, and a plain
moto server, live side by side in one process.
"""

import itertools
import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast
from urllib.parse import urlencode

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

_LOG = logging.getLogger(__name__)
_VERSIONS = {"ec2": "2016-11-15", "autoscaling": "2011-01-01"}
_FIRST_QUERIES = {"ec2": "DescribeLaunchTemplates", "autoscaling": "DescribeTags"}
_FIRST_TARGETS = {
    "ecs": "AmazonEC2ContainerServiceV20141113.ListClusters",
    "application-autoscaling": "AnyScaleFrontendService.DescribeScalableTargets",
}
_ACCOUNTS = itertools.count(200_000_000_001)
_AUTHORIZATION = "AWS4-HMAC-SHA256 Credential=lab/20260101/{region}/{service}/aws4_request"


class GroupRecord(Protocol):
    """The parts of moto's Auto Scaling group that we read and write."""

    name: str
    arn: str
    min_size: int
    max_size: int
    desired_capacity: int
    default_cooldown: int
    health_check_type: str
    health_check_grace_period: int
    availability_zones: list[str]
    vpc_zone_identifier: str | None
    termination_policies: list[str]
    new_instances_protected_from_scale_in: bool
    service_linked_role_arn: str
    target_group_arns: list[str]
    load_balancer_names: list[str]
    capacity_rebalance: bool
    instance_states: list[object]

    @property
    def suspended_processes(self) -> list[dict[str, str]]: ...
    @property
    def tags(self) -> list[dict[str, object]]: ...
    @property
    def launch_template(self) -> dict[str, str | None] | None: ...
    @property
    def instance_type(self) -> str: ...
    @property
    def enabled_metrics(self) -> list[dict[str, str]]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class MotoAnswer:
    """What moto answered; `crash` is what went wrong inside it, empty when nothing did."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    crash: str = ""

    def json(self) -> dict[str, object]:
        """The body of a JSON service; an empty document when moto crashed."""
        try:
            parsed = json.loads(self.body)
        except ValueError:
            return {}
        return parsed if isinstance(parsed, dict) else {}


class LaunchFailedError(Exception):
    """EC2 started nothing; the message is the activity's."""


class MotoBackend:
    """moto in this process, one account of it."""

    def __init__(self) -> None:
        # moto's catalogue of machine images costs two seconds and nothing here looks at it.
        os.environ.setdefault("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
        from moto.backends import get_backend
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

        self.account_id = str(next(_ACCOUNTS))
        self._get_backend = cast("Callable[[str], Mapping[str, Mapping[str, object]]]", get_backend)
        self._app = cast(
            "WSGIApplication",
            DomainDispatcherApplication(create_backend_app),  # type: ignore[no-untyped-call,unused-ignore]  # typed in some releases only
        )

    def warm_up(self, region: str) -> None:
        """Import and build what the first calls would otherwise wait for: two seconds."""
        for service, action in _FIRST_QUERIES.items():
            self.query(service, region, {"Action": action, "Version": _VERSIONS[service]})
        for service, target in _FIRST_TARGETS.items():
            self.json(service, region, target=target, params={"ServiceNamespace": "ecs"})

    def pass_on(self, environ: "WSGIEnvironment") -> "MotoAnswer":
        """moto's answer to a request as it came, in this lab's account."""
        environ["HTTP_X_MOTO_ACCOUNT_ID"] = self.account_id
        return self._run(environ)

    def query(self, service: str, region: str, form: Mapping[str, str]) -> MotoAnswer:
        """One call of a query-protocol service."""
        return self._call(
            service,
            region,
            content_type="application/x-www-form-urlencoded; charset=utf-8",
            target="",
            body=urlencode(form).encode(),
        )

    def json(
        self, service: str, region: str, *, target: str, params: Mapping[str, object]
    ) -> MotoAnswer:
        """One call of a JSON-protocol service."""
        return self._call(
            service,
            region,
            content_type="application/x-amz-json-1.1",
            target=target,
            body=json.dumps(params).encode(),
        )

    def _call(
        self, service: str, region: str, *, content_type: str, target: str, body: bytes
    ) -> MotoAnswer:
        from werkzeug.test import EnvironBuilder

        headers = [
            ("Authorization", _AUTHORIZATION.format(region=region, service=service)),
            ("X-Moto-Account-Id", self.account_id),
        ]
        if target:
            headers.append(("X-Amz-Target", target))
        builder = EnvironBuilder(
            method="POST", path="/", data=body, content_type=content_type, headers=headers
        )
        return self._run(builder.get_environ())

    def _run(self, environ: "WSGIEnvironment") -> MotoAnswer:
        from werkzeug.test import run_wsgi_app

        try:
            chunks, status, headers = run_wsgi_app(self._app, environ, True)
        except Exception as crash:  # noqa: BLE001 — moto raises through what it does not implement
            return MotoAnswer(status=500, headers=(), body=b"", crash=str(crash) or repr(crash))
        return MotoAnswer(
            status=int(status.split(" ", 1)[0]),
            headers=tuple(headers.items()),
            body=b"".join(chunks),
        )

    def group(self, region: str, name: str) -> GroupRecord | None:
        """moto's own record of a group."""
        return self._autoscaling(region).autoscaling_groups.get(name)

    def launch_instance(self, region: str, group: GroupRecord, zone: str) -> str:
        """Start an EC2 instance for a group. Returns: its id.

        Raises: LaunchFailedError when it cannot be started, say for want of its template.
        """
        try:
            return self._launch_instance(region, group, zone)
        except Exception as crash:
            raise LaunchFailedError(
                f"{str(crash) or repr(crash)} Launching EC2 instance failed."
            ) from crash

    def _launch_instance(self, region: str, group: GroupRecord, zone: str) -> str:
        ec2 = self._ec2(region)
        subnets = (group.vpc_zone_identifier or "").split(",")
        subnet_id = next(
            (
                subnet.id
                for subnet in ec2.describe_subnets()
                if subnet.id in subnets and subnet.availability_zone == zone
            ),
            None,
        )
        tags = {str(tag["Key"]): str(tag.get("Value") or "") for tag in group.tags}
        reservation = ec2.run_instances(
            cast("_Launchable", group).image_id,
            1,
            None,
            [],
            instance_type=group.instance_type,
            placement=zone,
            is_instance_type_default=False,
            launch_template=_template_reference(group),
            subnet_id=subnet_id,
            tags={"instance": {**tags, "aws:autoscaling:groupName": group.name}},
        )
        return reservation.instances[0].id

    def join_group(
        self, region: str, group: GroupRecord, instance_id: str, *, protected: bool
    ) -> None:
        """The instance is InService: moto counts it and registers it with target groups."""
        from moto.autoscaling.models import InstanceState

        instance = self._ec2(region).get_instance(instance_id)
        state = InstanceState(
            instance,  # type: ignore[arg-type]  # moto's own instance, seen through our Protocol
            protected_from_scale_in=protected,
            autoscaling_group=group,  # type: ignore[arg-type]  # moto's own group
        )
        group.instance_states.append(state)
        self._refresh_load_balancers(region, group)

    def leave_group(self, region: str, group: GroupRecord, instance_id: str) -> None:
        """The instance no longer serves: moto forgets it and deregisters it."""
        kept = [
            state
            for state in group.instance_states
            if cast("_Member", state).instance_id != instance_id
        ]
        if len(kept) != len(group.instance_states):
            group.instance_states = kept
            self._refresh_load_balancers(region, group, without=instance_id)

    def _refresh_load_balancers(
        self, region: str, group: GroupRecord, *, without: str | None = None
    ) -> None:
        """Register the group's instances; moto itself deregisters from classic balancers only."""
        autoscaling = self._autoscaling(region)
        if group.name not in autoscaling.autoscaling_groups:
            return
        try:
            if group.load_balancer_names:
                autoscaling.update_attached_elbs(group.name)
            if group.target_group_arns:
                autoscaling.update_attached_target_groups(group.name)
            for arn in group.target_group_arns or []:
                if without is not None:
                    autoscaling.elbv2_backend.deregister_targets(arn, [{"Id": without}])
        except Exception as crash:  # noqa: BLE001 — a deleted balancer must not stop the group
            _LOG.warning("group %s: its load balancers are as they were: %s", group.name, crash)

    def end_instance(self, region: str, instance_id: str) -> None:
        """Terminate an EC2 instance."""
        self._ec2(region).terminate_instances([instance_id])

    def forget_instance(self, region: str, instance_id: str) -> None:
        """Drop a terminated instance, as EC2 does after about an hour: memory stays bounded."""
        reservations = self._ec2(region).reservations
        for reservation_id, reservation in list(reservations.items()):
            if any(instance.id == instance_id for instance in reservation.instances):
                del reservations[reservation_id]

    def running_instances(self, region: str) -> frozenset[str]:
        """Ids of the instances that EC2 says are running."""
        return frozenset(
            instance.id
            for reservation in self._ec2(region).reservations.values()
            for instance in reservation.instances
            if instance.state == "running"
        )

    def has_cluster(self, region: str, name: str) -> bool:
        """Whether an ECS cluster of this name exists."""
        return name in cast("_Ecs", self._get_backend("ecs")[self.account_id][region]).clusters

    def _autoscaling(self, region: str) -> "_AutoScaling":
        return cast("_AutoScaling", self._get_backend("autoscaling")[self.account_id][region])

    def _ec2(self, region: str) -> "_Ec2":
        return cast("_Ec2", self._get_backend("ec2")[self.account_id][region])


def _template_reference(group: GroupRecord) -> dict[str, str] | None:
    template = group.launch_template
    if template is None:
        return None
    reference = {"LaunchTemplateId": str(template["LaunchTemplateId"])}
    if template.get("Version"):
        reference["Version"] = str(template["Version"])
    return reference


class _Launchable(Protocol):
    image_id: str


class _Member(Protocol):
    instance_id: str


class _Ec2Instance(Protocol):
    id: str
    state: str


class _Subnet(Protocol):
    id: str
    availability_zone: str


class _Reservation(Protocol):
    instances: Sequence[_Ec2Instance]


class _Ec2(Protocol):
    reservations: dict[str, _Reservation]

    def describe_subnets(self) -> list[_Subnet]: ...
    def get_instance(self, instance_id: str) -> _Ec2Instance: ...
    def terminate_instances(self, instance_ids: list[str]) -> object: ...
    def run_instances(
        self,
        image_id: str,
        count: int,
        user_data: str | None,
        security_group_names: list[str],
        **kwargs: object,
    ) -> _Reservation: ...


class _TargetGroups(Protocol):
    def deregister_targets(self, arn: str, targets: list[dict[str, str]], /) -> None: ...


class _AutoScaling(Protocol):
    autoscaling_groups: dict[str, GroupRecord]
    elbv2_backend: _TargetGroups

    def update_attached_elbs(self, group_name: str) -> None: ...
    def update_attached_target_groups(self, group_name: str) -> None: ...


class _Ecs(Protocol):
    clusters: Mapping[str, object]
