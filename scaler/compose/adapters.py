"""Configured parts as adapters: each section of the file becomes the object that does it."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, assert_never

from redis.asyncio import Redis
from redis.exceptions import RedisError

from metrics.queues.base import QueueSource
from metrics.queues.list import ListQueue
from metrics.queues.sorted_set import SortedSetQueue
from metrics.queues.stream import StreamQueue
from metrics.redis_client import RedisSettings, connect
from scaler import __version__
from scaler.config import schema
from scaler.model.errors import ConfigError, UnreachableError
from scaler.model.ports import Target
from scaler.operate.conflict_watch import Finder
from scaler.record.sentry import ErrorReports
from scaler.state.decision_log import LogBackend, MemoryLogBackend
from scaler.state.log_backends import FileLogBackend, RedisLogBackend
from scaler.state.store import FileStore, MemoryStore, RedisStore
from scaler.targets.asg import AsgTarget
from scaler.targets.aws import AwsCalls, AwsConnections, AwsSettings, Clients
from scaler.targets.conflicts import AsgConflicts, EcsConflicts
from scaler.targets.ecs import EcsFloorTarget, EcsService, EcsTarget

if TYPE_CHECKING:
    from mypy_boto3_application_autoscaling import ApplicationAutoScalingClient
    from mypy_boto3_autoscaling import AutoScalingClient
    from mypy_boto3_ecs import ECSClient

ClaimingStore = MemoryStore | FileStore | RedisStore
Run = Callable[[], Awaitable[None]]


def queue_source(name: str, queue: schema.Queue) -> QueueSource:
    """The source that reads a configured queue."""
    match queue:
        case schema.ListQueue():
            return ListQueue(
                name=name,
                key=queue.key,
                processing_key=queue.processing_key,
                oldest=None if queue.oldest == "none" else queue.oldest,
                enqueued_at_field=queue.enqueued_at,
            )
        case schema.StreamQueue():
            return StreamQueue(name=name, key=queue.key, group=queue.group)
        case schema.SortedSetQueue():
            return SortedSetQueue(
                name=name, key=queue.key, score_unit="s" if queue.unit == "seconds" else "ms"
            )
        case _ as never:
            assert_never(never)


def redis_settings(redis: schema.Redis) -> RedisSettings:
    """How the configured server is reached."""
    return RedisSettings(
        url=redis.url.get_secret_value(),
        username=redis.username,
        password=redis.password.get_secret_value() if redis.password else None,
        connect_timeout_s=redis.connect_timeout_s,
        timeout_s=redis.timeout_s,
        ca_file=str(redis.ca_file) if redis.ca_file else None,
        retries=1,
    )


def redis_client(redis: schema.Redis) -> Redis:
    """The client of the configured server, not yet connected.

    Raises: ConfigError when the URL has options that no connection takes.
    """
    try:
        client = connect(redis_settings(redis))
        # made, not opened: it is what reads the options
        client.connection_pool.make_connection()  # type: ignore[no-untyped-call]  # redis-py has none
    except (TypeError, ValueError) as error:
        raise ConfigError(
            "redis.url cannot be used",
            why=f"{error}",
            fix="remove what stands after ? in it, or correct it",
        ) from None
    return client


def aws_settings(aws: schema.Aws) -> AwsSettings:
    """How AWS is reached."""
    return AwsSettings(
        region=aws.region,
        endpoint_url=aws.endpoint_url,
        connect_timeout_s=aws.connect_timeout_s,
        read_timeout_s=aws.read_timeout_s,
        read_attempts=aws.attempts,
    )


def state_store(config: schema.Config, client: Redis) -> ClaimingStore:
    """Where fleets that act remember."""
    match config.state.store:
        case "redis":
            return RedisStore(client)
        case "file":
            assert config.state.directory is not None
            return FileStore(config.state.directory)
        case "memory":
            return MemoryStore()
        case _ as never:
            assert_never(never)


def log_backend(config: schema.Config, client: Redis) -> LogBackend:
    """Where decisions of fleets that act are kept: beside their memory."""
    match config.state.store:
        case "redis":
            return RedisLogBackend(client, keep=config.decisions.keep)
        case "file":
            assert config.state.directory is not None
            return FileLogBackend(config.state.directory)
        case "memory":
            return MemoryLogBackend(keep=config.decisions.keep)
        case _ as never:
            assert_never(never)


def error_reports(config: schema.Config) -> ErrorReports | None:
    """The way to Sentry, where one is configured."""
    dsn = config.sentry.dsn
    if dsn is None:
        return None
    return ErrorReports(dsn.get_secret_value(), environment=config.environment, release=__version__)


class Targets:
    """Makes targets over clients that are made once."""

    def __init__(self, connections: AwsConnections, *, now: Callable[[], float]) -> None:
        self._connections = connections
        self._now = now
        self._autoscaling: Clients[AutoScalingClient] | None = None
        self._ecs: Clients[ECSClient] | None = None
        self._scaling: Clients[ApplicationAutoScalingClient] | None = None

    def of(self, fleet: str, target: schema.Target) -> tuple[Target, Finder, AwsCalls]:
        """The target, its conflict finder, and the threads that both use."""
        calls = AwsCalls(fleet, settings=self._connections.settings)
        match target:
            case schema.AsgTarget():
                self._autoscaling = self._autoscaling or self._connections.autoscaling()
                asg = AsgTarget(target.name, clients=self._autoscaling, calls=calls, now=self._now)
                asg_finder = AsgConflicts(
                    target.name,
                    clients=self._autoscaling,
                    calls=calls,
                    safety_net_policy=target.safety_net_policy,
                )
                return asg, asg_finder, calls
            case schema.EcsTarget():
                return *self._of_ecs(target, calls), calls
            case _ as never:
                assert_never(never)

    def _of_ecs(self, target: schema.EcsTarget, calls: AwsCalls) -> tuple[Target, Finder]:
        self._ecs = self._ecs or self._connections.ecs()
        self._scaling = self._scaling or self._connections.application_autoscaling()
        service = EcsService(target.cluster, target.service, clients=self._ecs, calls=calls)
        floor = target.mode == "floor"
        finder = EcsConflicts(
            target.cluster,
            target.service,
            scaling=self._scaling,
            calls=calls,
            floor=floor,
            safety_net_policy=target.safety_net_policy,
        )
        if floor:
            return EcsFloorTarget(service, scaling=self._scaling, now=self._now), finder
        return EcsTarget(service, now=self._now), finder


def unreachable(error: Exception) -> Exception:
    """A server's trouble as ours, so that it reads as trouble and not as a bug."""
    return UnreachableError(str(error)) if isinstance(error, RedisError) else error
