"""How the daemon tells CloudWatch: the publisher's buffer outlives a reload, its turns do not."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from redis.exceptions import RedisError

from metrics.publish.cloudwatch import CLIENT_CONFIG, CloudWatchPublisher, PublishResult
from metrics.publish.stack import StackPublisher
from metrics.reports import ReportReader
from scaler.compose.adapters import Run, unreachable
from scaler.config import schema
from scaler.loop.board import LiveBoard
from scaler.loop.clock import SystemClock
from scaler.targets.aws import AwsConnections


class Publishing:
    """Makes each generation's turns over one publisher, as long as its settings stay."""

    def __init__(
        self,
        *,
        board: LiveBoard,
        clock: SystemClock,
        on_result: Callable[[PublishResult], None],
    ) -> None:
        self._board = board
        self._clock = clock
        self._on_result = on_result
        self._publisher: CloudWatchPublisher | None = None
        self._settings: tuple[schema.Aws, schema.Publish] | None = None
        self._stack: StackPublisher | None = None

    @property
    def lag_s(self) -> float:
        """Age of the oldest datum that waits; 0 when none does."""
        return 0.0 if self._publisher is None else self._publisher.lag_s

    def stop(self) -> None:
        """The next generation does not publish: what is seen meanwhile is not told afterwards."""
        self._stack = None

    def start(
        self, config: schema.Config, connections: AwsConnections, reader: ReportReader
    ) -> tuple[Run, Run]:
        """The next generation's service, and its last turn."""
        stack = StackPublisher(
            publisher=self._publisher_of(config, connections),
            reports=reader,
            points=lambda queue, since_s: self._board.points(queue, since_s=since_s),
            queues=config.queues,
            environment=config.environment,
            totals=config.publish.totals,
            clock=self._clock,
            on_result=self._on_result,
        )
        if self._stack is not None:
            stack.follow(self._stack)
        self._stack = stack
        run = partial(publishing, stack, config.publish.interval_s)
        return run, partial(stack.publish, force=True)

    def _publisher_of(
        self, config: schema.Config, connections: AwsConnections
    ) -> CloudWatchPublisher:
        settings = (config.aws, config.publish)
        if self._publisher is None or self._settings != settings:
            self._settings = settings
            self._publisher = CloudWatchPublisher(
                connections.cloudwatch(CLIENT_CONFIG),
                ThreadPoolExecutor(max_workers=1, thread_name_prefix="cloudwatch"),
                namespace=config.publish.namespace,
                now=self._clock.wall_s,
                capacity=config.publish.buffer,
            )
        return self._publisher


async def publishing(stack: StackPublisher, interval_s: float) -> None:
    """Raises: UnreachableError when Redis takes no acknowledgement; the next turn does it again."""
    try:
        await stack.run(interval_s=interval_s)
    except RedisError as error:
        raise unreachable(error) from error
