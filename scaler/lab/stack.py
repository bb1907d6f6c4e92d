"""The Ascension stack as its Terraform builds it: the GPU group, the API service, the old alarm."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import boto3
    from mypy_boto3_application_autoscaling import ApplicationAutoScalingClient
    from mypy_boto3_autoscaling import AutoScalingClient
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ecs import ECSClient

REGION = "us-east-1"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "lab",
    "AWS_SECRET_ACCESS_KEY": "lab",
    "AWS_EC2_METADATA_DISABLED": "true",
}
"""Credentials that satisfy a client; the lab looks at none."""

GROUP = "ascension-gpu-workers-production"
CLUSTER = "ascension-production"
SERVICE = "ascension-api-production"
ALARM_ONLY_GROUP = "ascension-gpu-workers-alarm-only"
ALARM_ONLY_METRIC = "QueueDepthAlarmOnly"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabClients:
    """boto3 clients of one lab."""

    autoscaling: "AutoScalingClient"
    cloudwatch: "CloudWatchClient"
    ec2: "EC2Client"
    ecs: "ECSClient"
    application_autoscaling: "ApplicationAutoScalingClient"


@dataclass(frozen=True, slots=True, kw_only=True)
class AscensionStack:
    """What was created, by name."""

    group: str
    cluster: str
    service: str
    alarm_only_group: str | None
    alarm: str | None


def lab_session(*, region: str = REGION) -> "boto3.Session":
    """A boto3 session that signs with dummy credentials, whatever the environment holds."""
    import boto3

    return boto3.Session(
        aws_access_key_id=ENVIRONMENT["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=ENVIRONMENT["AWS_SECRET_ACCESS_KEY"],
        region_name=region,
    )


def lab_clients(
    url: str, *, region: str = REGION, session: "boto3.Session | None" = None
) -> LabClients:
    """Clients of the lab at `url`: short timeouts, one attempt, so that a refusal shows at once.

    Args: session, to spare the half second that a new one spends on reading models.
    """
    from botocore.config import Config

    session = session or lab_session(region=region)
    config = Config(
        connect_timeout=5, read_timeout=30, retries={"mode": "standard", "total_max_attempts": 1}
    )
    return LabClients(
        autoscaling=session.client("autoscaling", endpoint_url=url, config=config),
        cloudwatch=session.client("cloudwatch", endpoint_url=url, config=config),
        ec2=session.client("ec2", endpoint_url=url, config=config),
        ecs=session.client("ecs", endpoint_url=url, config=config),
        application_autoscaling=session.client(
            "application-autoscaling", endpoint_url=url, config=config
        ),
    )


def create_ascension_stack(
    clients: LabClients,
    *,
    alarm_only: bool = False,
    alarm_only_metric: str = ALARM_ONLY_METRIC,
    alarm_only_namespace: str = "Ascension",
) -> AscensionStack:
    """Create the production-like stack.

    The GPU group (min 2, max 10, desired 2, two zones) and the API service (desired 3, a scalable
    target of 3…10). With `alarm_only` also a twin of the group under the original design: an alarm
    on the average of `alarm_only_metric`, > 50 for 2 × 60 s, that adds two instances, cooldown
    300 s, and no scale-in.
    """
    zones = [f"{clients.ec2.meta.region_name}{letter}" for letter in "ab"]
    create_group(clients, GROUP, low=2, high=10, desired=2, zones=zones)
    create_service(clients, cluster=CLUSTER, name=SERVICE, desired=3)
    clients.application_autoscaling.register_scalable_target(
        ServiceNamespace="ecs",
        ResourceId=f"service/{CLUSTER}/{SERVICE}",
        ScalableDimension="ecs:service:DesiredCount",
        MinCapacity=3,
        MaxCapacity=10,
    )
    if not alarm_only:
        return AscensionStack(
            group=GROUP, cluster=CLUSTER, service=SERVICE, alarm_only_group=None, alarm=None
        )
    create_group(clients, ALARM_ONLY_GROUP, low=2, high=10, desired=2, zones=zones)
    alarm = create_alarm_only_design(
        clients, ALARM_ONLY_GROUP, namespace=alarm_only_namespace, metric=alarm_only_metric
    )
    return AscensionStack(
        group=GROUP,
        cluster=CLUSTER,
        service=SERVICE,
        alarm_only_group=ALARM_ONLY_GROUP,
        alarm=alarm,
    )


def create_alarm_only_design(
    clients: LabClients, group: str, *, namespace: str = "Ascension", metric: str = "QueueDepth"
) -> str:
    """The original design on a group: its simple scaling policy and its alarm.

    Returns: the alarm's name.
    """
    policy = clients.autoscaling.put_scaling_policy(
        AutoScalingGroupName=group,
        PolicyName=f"{group}-scale-out",
        PolicyType="SimpleScaling",
        AdjustmentType="ChangeInCapacity",
        ScalingAdjustment=2,
        Cooldown=300,
    )
    alarm = f"{group}-queue-depth-high"
    clients.cloudwatch.put_metric_alarm(
        AlarmName=alarm,
        Namespace=namespace,
        MetricName=metric,
        Statistic="Average",
        Period=60,
        EvaluationPeriods=2,
        Threshold=50,
        ComparisonOperator="GreaterThanThreshold",
        AlarmActions=[policy["PolicyARN"]],
    )
    return alarm


def create_group(
    clients: LabClients,
    name: str,
    *,
    low: int,
    high: int,
    desired: int,
    zones: list[str] | None = None,
    instance_type: str = "g4dn.xlarge",
) -> None:
    """Create a launch template and a group of it."""
    template = clients.ec2.create_launch_template(
        LaunchTemplateName=f"{name}-template",
        LaunchTemplateData={
            "ImageId": "ami-00000000000000001",
            "InstanceType": instance_type,  # type: ignore[typeddict-item]  # any type that EC2 has
        },
    )["LaunchTemplate"]
    clients.autoscaling.create_auto_scaling_group(
        AutoScalingGroupName=name,
        LaunchTemplate={"LaunchTemplateId": template["LaunchTemplateId"], "Version": "$Latest"},
        MinSize=low,
        MaxSize=high,
        DesiredCapacity=desired,
        AvailabilityZones=zones or [f"{clients.ec2.meta.region_name}{letter}" for letter in "ab"],
        Tags=[{"Key": "Project", "Value": "Ascension", "PropagateAtLaunch": True}],
    )


def create_service(clients: LabClients, *, cluster: str, name: str, desired: int) -> None:
    """Create a cluster (or use the one there), a task definition and a service."""
    clients.ecs.create_cluster(clusterName=cluster)
    definition = clients.ecs.register_task_definition(
        family=name,
        containerDefinitions=[
            {"name": "app", "image": "ascension/app:lab", "cpu": 256, "memory": 512}
        ],
    )["taskDefinition"]
    clients.ecs.create_service(
        cluster=cluster,
        serviceName=name,
        taskDefinition=definition["taskDefinitionArn"],
        desiredCount=desired,
    )
