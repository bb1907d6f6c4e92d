"""Configuration becomes a running daemon.

`Composition` holds what lasts (clock, board, metrics, timeline, HTTP server, the publisher's
buffer); `build()` makes a generation from the configuration as it is now and takes those over.
Everything that can be refused is refused before anything that runs is touched.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from metrics.publish.prometheus import Metrics
from metrics.queues.poll import QueuePoller
from policies.base import Policy
from scaler import __version__
from scaler.api.app import create_app
from scaler.api.server import HttpServer
from scaler.compose.adapters import (
    ClaimingStore,
    Run,
    Targets,
    aws_settings,
    error_reports,
    log_backend,
    redis_client,
    state_store,
    unreachable,
)
from scaler.compose.observing import Observing
from scaler.compose.publishing import Publishing
from scaler.config import schema
from scaler.config.load import Loaded, load
from scaler.config.specs import build_policies, fleet_specs
from scaler.decide.explain import to_record
from scaler.loop.board import LiveBoard
from scaler.loop.clock import SystemClock
from scaler.loop.controller import FleetController
from scaler.loop.daemon import FLUSH_S, Daemon, Generation
from scaler.loop.fleet import FleetLoop
from scaler.loop.poller import CapacityPolling
from scaler.model.change import Outcome
from scaler.model.decision import Decision
from scaler.model.errors import ScalerError, UnreachableError
from scaler.model.ports import Ports, Recorder, Target
from scaler.model.readings import Missing
from scaler.model.spec import FleetSpec, JsonValue
from scaler.model.state import FleetState
from scaler.operate.attainment import attainment
from scaler.operate.check_watch import CheckWatch
from scaler.operate.conflict_watch import ConflictWatch, Finder
from scaler.operate.explain import Explanation, explain
from scaler.operate.operator import Operator
from scaler.operate.view import DaemonView
from scaler.record.fanout import Fanout
from scaler.record.log import LogSink, configure
from scaler.record.prometheus import PrometheusSink
from scaler.record.timeline import Timeline
from scaler.state.decision_log import DecisionLog, MemoryLogBackend
from scaler.state.lease import AlwaysHeld
from scaler.state.store import MemoryStore
from scaler.targets.aws import AwsCalls, AwsConnections
from scaler.targets.dry_run import DryRunTarget

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

BEAT_S = 1.0
RELOAD_CHECK = "config"
"""What `reload_failed` has said already."""

DRY_RUN_KEEP = 1000


@dataclass(kw_only=True)
class _Fleet:
    """One fleet's adapters, before they are wired to a loop."""

    spec: FleetSpec
    target: Target
    finder: Finder
    calls: AwsCalls
    store: ClaimingStore


class Composition:
    """Builds a daemon and, at each reload, its next generation."""

    def __init__(
        self,
        sources: Sequence[Path],
        *,
        environ: Mapping[str, str],
        clock: SystemClock,
        dry_run: bool = False,
    ) -> None:
        """Raises: ConfigError when the configuration cannot be used or the port is taken."""
        self._sources = sources
        self._environ = environ
        self._clock = clock
        self._dry_run = dry_run
        self._first: Loaded | None = load(sources, environ)
        config = self._first.config
        self._config = config
        self._configure_log(config.log)

        self._metrics = Metrics(version=__version__)
        self._board = LiveBoard(clock)
        self._timeline = Timeline(self._record_of)
        self._specs: dict[str, FleetSpec] = {}
        self._epochs: dict[str, int] = {}
        self._publishing = Publishing(
            board=self._board, clock=clock, on_result=self._metrics.published
        )
        self._observing: Observing | None = None
        self._dry_run_log = MemoryLogBackend(keep=DRY_RUN_KEEP)
        self._logs: tuple[DecisionLog, ...] = ()
        self._flushes: list[Run] = []
        self._conflicts = ConflictWatch((), say=_say_conflict)
        self._errors = error_reports(config)
        self.operator = Operator(
            counters=self._metrics,
            wall_s=clock.wall_s,
            report=lambda error, component: (
                self._errors.report(error, component=component) if self._errors else None
            ),
        )
        self.view = DaemonView(
            version=__version__,
            environment=config.environment,
            dry_run=dry_run,
            clock=clock,
            board=self._board,
            registry=self._metrics,
            timeline=self._timeline,
            past=self._past,
            reload_error=lambda: self.operator.reload_error,
            publish_lag_s=lambda: self._publishing.lag_s,
            conflicts=lambda: self._conflicts.known,
            attainment=self._attainment,
            started_at_s=clock.now_s(),
            beat_at_s=clock.now_s(),
        )
        self._checks = CheckWatch(say=_say_check, count_error=self._metrics.error)
        self.server = HttpServer.bind(create_app(self.view), str(config.http.listen))

    def daemon(self) -> Daemon:
        """The daemon, ready to run."""
        return Daemon(
            build=self.build,
            lasting=[("http", self._serve), ("beat", self._beat)],
            flush=self._flush,
            fingerprint=self._fingerprint,
            operator=self.operator,
        )

    async def build(self) -> Generation:
        """The next generation. Raises: ConfigError; then nothing that runs was touched."""
        loaded, self._first = self._first or load(self._sources, self._environ), None
        config = loaded.config
        specs = {spec.name: self._as_run(spec) for spec in fleet_specs(config)}
        policies = {name: build_policies(spec) for name, spec in specs.items()}
        connections = self._connections(config)
        client = redis_client(config.redis)
        fleets = self._fleets(config, specs, connections, client)

        # From here on nothing can be refused.
        self._take_over(config)
        self._timeline.keep({*self._specs, *specs})
        self._specs = specs
        self._logs = self._decision_logs(config, client, specs)
        self._metrics.keep(queues=config.queues, fleets=specs)
        self._conflicts = ConflictWatch(
            [(fleet.spec.name, fleet.finder) for fleet in fleets], say=_say_conflict
        )
        loops = [self._loop(config, fleet, policies[fleet.spec.name]) for fleet in fleets]
        observing = self._observe(config, client, loops)
        services = [
            *observing.services(),
            ("conflicts", self._conflicts.run),
            *((f"capacity.{loop.name}", loop.capacity.run) for loop in loops),
            *(("decision_log", log.run) for log in self._logs),
        ]
        flushes = [*observing.flushes(), *(log.flush for log in self._logs)]
        if config.publish.cloudwatch and connections is not None and not self._dry_run:
            publish, last_turn = self._publishing.start(config, connections, observing.reader)
            services.append(("publish", publish))
            flushes.append(last_turn)
        else:
            self._publishing.stop()
        self._flushes = flushes
        self.view.fleets, self.view.queues = loops, tuple(config.queues)
        self.view.stale_after_s = config.loop.stale_after_s
        return Generation(
            fleets=loops,
            services=services,
            release=partial(self._release, observing.poller, client, fleets, flushes),
            warnings=[str(problem) for problem in loaded.warnings],
        )

    def _take_over(self, config: schema.Config) -> None:
        """What outlives a generation follows a reload where it can, and says where it cannot."""
        before, self._config = self._config, config
        for field in ("http", "sentry"):
            if getattr(before, field) != getattr(config, field):
                _log.warning("restart_needed", field=field, note="the running one is kept")
        if before.log != config.log:
            self._configure_log(config.log)
        self.view.environment = config.environment

    def _configure_log(self, log: schema.Log) -> None:
        configure(level=log.level, log_format=log.format, wall_s=self._clock.wall_s)

    # --- parts of a generation

    def _as_run(self, spec: FleetSpec) -> FleetSpec:
        return replace(spec, dry_run=True) if self._dry_run else spec

    def _connections(self, config: schema.Config) -> AwsConnections | None:
        """None for a daemon that only observes and tells Prometheus: it needs no AWS at all."""
        publishes = config.publish.cloudwatch and not self._dry_run
        if not config.fleets and not publishes:
            return None
        return AwsConnections(aws_settings(config.aws))

    def _fleets(
        self,
        config: schema.Config,
        specs: Mapping[str, FleetSpec],
        connections: AwsConnections | None,
        client: Redis,
    ) -> list[_Fleet]:
        if connections is None:
            return []
        targets = Targets(connections, now=self._clock.now_s)
        durable = state_store(config, client)
        fleets = []
        for name, spec in specs.items():
            target, finder, calls = targets.of(name, config.fleets[name].target)
            if spec.dry_run:
                target = DryRunTarget(target)
            store = MemoryStore() if spec.dry_run else durable
            fleets.append(_Fleet(spec=spec, target=target, finder=finder, calls=calls, store=store))
        return fleets

    def _observe(
        self, config: schema.Config, client: Redis, loops: Sequence[FleetLoop]
    ) -> Observing:
        observing = Observing(
            config,
            client,
            board=self._board,
            clock=self._clock,
            metrics=self._metrics,
            persist=not self._dry_run,
            failed=self.operator.failed,
        )
        observing.loops = loops
        self._observing = observing
        return observing

    def _decision_logs(
        self, config: schema.Config, client: Redis, specs: Mapping[str, FleetSpec]
    ) -> tuple[DecisionLog, ...]:
        """(for fleets that act, for dry runs): a dry run leaves no trace outside the process.

        Their specs are this generation's own: its last decisions, made while the next one is
        built, can only be proven by what they were made with."""
        backends = log_backend(config, client), self._dry_run_log
        return tuple(
            DecisionLog(
                backend,
                spec_of=specs.__getitem__,
                epoch_of=lambda fleet: self._epochs.get(fleet, 0),
            )
            for backend in backends
        )

    def _loop(self, config: schema.Config, fleet: _Fleet, policies: Sequence[Policy]) -> FleetLoop:
        clock, board, name = self._clock, self._board, fleet.spec.name
        sinks: dict[str, Recorder] = {
            "log": LogSink(self._record_of),
            "metrics": PrometheusSink(self._metrics),
            "timeline": self._timeline,
            "decision_log": _DecisionLogSink(self._logs[1 if fleet.spec.dry_run else 0]),
        }
        controller = FleetController(
            spec=fleet.spec,
            policies=policies,
            state=FleetState(fleet=name, since_s=clock.now_s()),
            ports=Ports(
                clock=clock,
                board=board,
                target=fleet.target,
                store=fleet.store,
                lease=AlwaysHeld(0),
                recorder=Fanout(sinks, count_error=self._metrics.error),
            ),
        )
        return FleetLoop(
            controller=controller,
            capacity=CapacityPolling(
                fleet=name,
                target=fleet.target,
                board=board,
                clock=clock,
                describe_s=config.loop.describe_s,
            ),
            clock=clock,
            tick_s=config.loop.tick_s,
            home=(config.state, config.redis),
            take_up=partial(self._take_up, fleet.store),
            on_tick=lambda fleet_name, took_s: self._metrics.tick(fleet_name, took_s=took_s),
            on_error=self.operator.tick_failed,
        )

    # --- what the parts call back

    async def _take_up(self, store: ClaimingStore, controller: FleetController) -> None:
        """The fleet's epoch and memory, before its first tick."""
        name, now_s = controller.spec.name, self._clock.now_s()
        epoch = 0 if controller.spec.dry_run else await store.claim(name)
        state = await store.load(name)
        controller.ports = replace(controller.ports, lease=AlwaysHeld(epoch))
        if state is not None:
            controller.state = state.resumed(at_s=now_s)
        self._epochs[name] = epoch
        self._metrics.leader(name, held=not controller.spec.dry_run)
        _log.info("fleet_taken_up", fleet=name, epoch=epoch, remembered=state is not None)

    def _record_of(self, decision: Decision, outcome: Outcome) -> dict[str, JsonValue]:
        return to_record(decision, outcome, epoch=self._epochs.get(decision.fleet, 0))

    async def _past(self, fleet: str, last: int, at_s: float | None) -> list[Explanation]:
        """Logged decisions computed again, newest first."""
        log = self._logs[1 if self._specs[fleet].dry_run else 0]
        await log.flush()
        return [
            explain(e.spec, e.decision, e.outcome, epoch=e.epoch, build=build_policies)
            for e in await log.entries(fleet, last=last, at_s=at_s)
        ]

    def _attainment(self, spec: FleetSpec) -> float | Missing:
        if self._observing is None:
            return Missing("the report stream has not been read yet")
        reader, now_s = self._observing.reader, self._clock.wall_s()
        return attainment(spec.objective, [reader.waits(queue, now_s) for queue in spec.signals])

    # --- what lasts

    async def _serve(self) -> None:
        stop = asyncio.Event()
        try:
            await self.server.run(stop)
        finally:
            stop.set()

    async def _beat(self) -> None:
        while True:
            self.view.beat()
            self._checks.look(c for c in self.view.readiness() if c.name != RELOAD_CHECK)
            await asyncio.sleep(BEAT_S)

    async def _flush(self) -> None:
        """The last metrics, reports and decisions, side by side: a slow one starves no other."""
        await self._flush_all(self._flushes)
        self.server.close()
        if self._errors is not None:
            self._errors.close(timeout_s=1.0)

    async def _flush_all(self, flushes: Sequence[Run]) -> None:
        async with asyncio.TaskGroup() as tasks:
            for flush in flushes:
                tasks.create_task(self._flush_one(flush))

    async def _flush_one(self, flush: Run) -> None:
        try:
            await flush()
        except (ScalerError, RedisError, OSError) as error:
            self.operator.failed("flush", unreachable(error))

    async def _release(
        self,
        poller: QueuePoller,
        client: Redis,
        fleets: Iterable[_Fleet],
        flushes: Sequence[Run],
    ) -> None:
        if flushes is not self._flushes:  # a successor waits: this generation's last words
            try:
                async with asyncio.timeout(FLUSH_S):
                    await self._flush_all(flushes)
            except TimeoutError:
                late = UnreachableError(f"the last flush took longer than {FLUSH_S:g} s")
                self.operator.failed("flush", late)
            await poller.close()
            await client.aclose()
            self._timeline.keep(self._specs)
            self._board.forget(queues=self.view.queues, fleets=self._specs)
        for fleet in fleets:
            fleet.calls.close()

    def _fingerprint(self) -> object:
        """Changes when a file of the configuration changes, appears or goes."""
        return tuple(mark for source in self._sources for mark in file_marks(source))


def file_marks(source: Path) -> list[tuple[str, int, int, int]]:
    """What tells a changed file or directory. What cannot be looked at, for now, has no mark."""
    marks = []
    try:
        paths = sorted(source.iterdir()) if source.is_dir() else [source]
    except OSError:
        return []
    for path in paths:
        try:
            stat = path.stat()
        except OSError:
            continue
        marks.append((str(path), stat.st_mtime_ns, stat.st_size, stat.st_ino))
    return marks


class _DecisionLogSink:
    """The decision log as a recorder's sink."""

    def __init__(self, log: DecisionLog) -> None:
        self._log = log

    def record(self, decision: Decision, outcome: Outcome) -> None:
        self._log.append(decision, outcome)


def _say_check(event: str, component: str, reason: str) -> None:
    level = logging.INFO if event == "ready_again" else logging.WARNING
    _log.log(level, event, component=component, reason=reason)


def _say_conflict(event: str, fleet: str, sentence: str) -> None:
    _log.warning(event, fleet=fleet, text=sentence)
