"""The daemon as its HTTP surface sees it: metrics page, health, readiness, status, decisions."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from metrics.publish.prometheus import Metrics
from scaler.api.app import Check, Health
from scaler.decide.derive import fresh, in_flight
from scaler.loop.board import LiveBoard
from scaler.loop.clock import SystemClock
from scaler.loop.fleet import FleetLoop
from scaler.model.readings import Capacity, Missing, QueueReading, QueueSample
from scaler.model.spec import FleetSpec, JsonValue
from scaler.operate.explain import Explanation
from scaler.record.timeline import Timeline

ALIVE_S = 30.0
LAG_S = 300.0
"""Metrics that reach CloudWatch later than this make the daemon unready: its alarms are blind."""

Past = Callable[[str, int, float | None], Awaitable[list[Explanation]]]


@dataclass(kw_only=True)
class DaemonView:
    """Reads the daemon's parts; the composition keeps `fleets`, `queues` and `stale_after_s`
    (when a reading counts as missing, where a fleet says nothing of its own) current."""

    version: str
    environment: str
    dry_run: bool
    clock: SystemClock
    board: LiveBoard
    registry: Metrics
    timeline: Timeline
    past: Past
    reload_error: Callable[[], str]
    publish_lag_s: Callable[[], float]
    conflicts: Callable[[], Mapping[str, Sequence[str]]]
    attainment: Callable[[FleetSpec], float | Missing]
    fleets: Sequence[FleetLoop] = ()
    queues: Sequence[str] = ()
    stale_after_s: float = 60.0
    beat_at_s: float = 0.0
    started_at_s: float = field(default=0.0)

    def beat(self) -> None:
        """The event loop turned."""
        self.beat_at_s = self.clock.now_s()

    def metrics(self, accept: str) -> tuple[bytes, str]:
        now_s = self.clock.now_s()
        for name in self.queues:
            self.registry.queue(name, self._sample(name, now_s=now_s))
        for fleet in self.fleets:
            self.registry.capacity(fleet.name, self._capacity(fleet, now_s=now_s))
            self.registry.attainment(fleet.name, self.attainment(fleet.controller.spec))
        return self.registry.page(accept)

    def health(self) -> Health:
        age_s = self.clock.real_s(self.clock.now_s() - self.beat_at_s)
        return Health(loop_age_s=max(0.0, age_s), limit_s=ALIVE_S)

    def readiness(self) -> Sequence[Check]:
        error = self.reload_error()
        checks = [Check(name="config", ok=not error, reason=error or "accepted")]
        now_s = self.clock.now_s()
        checks += [
            _check(f"queue.{name}", self._sample(name, now_s=now_s), "read") for name in self.queues
        ]
        for fleet in self.fleets:
            seen = self._capacity(fleet, now_s=now_s)
            checks.append(_check(f"target.{fleet.name}", seen, "described"))
            checks.append(
                Check(name=f"state.{fleet.name}", ok=fleet.taken_up, reason=_memory(fleet))
            )
        lag_s = self.publish_lag_s()
        checks.append(
            Check(
                name="publish", ok=lag_s <= LAG_S, reason=f"oldest unsent datum {lag_s:.0f} s old"
            )
        )
        return checks

    def status(self) -> Mapping[str, JsonValue]:
        now_s = self.clock.now_s()
        return {
            "version": self.version,
            "environment": self.environment,
            "dry_run": self.dry_run,
            "uptime_s": round(now_s - self.started_at_s, 1),
            "ready": all(check.ok for check in self.readiness()),
            "problems": [f"{c.name}: {c.reason}" for c in self.readiness() if not c.ok],
            "queues": {
                name: _queue(self.board.queue(name, at_s=now_s, since_s=now_s))
                for name in self.queues
            },
            "fleets": {fleet.name: self._fleet(fleet, now_s=now_s) for fleet in self.fleets},
        }

    def decisions(
        self, fleet: str, *, last: int, at_s: float | None
    ) -> Sequence[Mapping[str, JsonValue]] | None:
        return self.timeline.last(fleet, last=last, at_s=at_s)

    async def explanations(
        self, fleet: str, *, last: int, at_s: float | None
    ) -> Sequence[Mapping[str, JsonValue]] | None:
        """Past decisions computed again from the decision log, oldest first; None: no fleet."""
        if fleet not in (f.name for f in self.fleets):
            return None
        return [e.record() for e in reversed(await self.past(fleet, last, at_s))]

    def _sample(self, queue: str, *, now_s: float) -> QueueSample | Missing:
        latest = self.board.queue(queue, at_s=now_s, since_s=now_s).latest
        return fresh(latest, stale_after_s=self.stale_after_s)

    def _capacity(self, fleet: FleetLoop, *, now_s: float) -> Capacity | Missing:
        """As the fleet's decisions see it: what stood there once is not shown."""
        reading = self.board.capacity(fleet.name, at_s=now_s)
        return fresh(reading, stale_after_s=fleet.controller.spec.stale_after_s)

    def _fleet(self, fleet: FleetLoop, *, now_s: float) -> JsonValue:
        spec = fleet.controller.spec
        reading = self.board.capacity(fleet.name, at_s=now_s)
        newest = self.timeline.last(fleet.name, last=1) or [{}]
        value = reading.value
        capacity: JsonValue
        if isinstance(value, Missing):
            capacity = {"missing": value.reason}
        else:
            capacity = {
                "desired": value.desired,
                "in_service": value.in_service,
                "pending": value.pending,
                "terminating": value.terminating,
                "age_s": round(reading.age_s, 1),
                "launch_failure": value.launch_failure,
            }
        return {
            "signals": list(spec.signals),
            "bounds": {"min": spec.bounds.min, "max": spec.bounds.max},
            "scale_in": spec.scale_in,
            "dry_run": spec.dry_run or self.dry_run,
            "epoch": fleet.controller.ports.lease.epoch,
            "capacity": capacity,
            "last_decision": newest[0].get("sentence"),
            "last_decision_at_s": newest[0].get("at_s"),
            "objective": None if spec.objective is None else str(spec.objective),
            "attainment_ratio": _ratio(self.attainment(spec)),
            "conflicts": list(self.conflicts().get(fleet.name, ())),
        }


def _memory(fleet: FleetLoop) -> str:
    if fleet.taken_up:
        return "taken up"
    why = f": {fleet.not_taken_up_why}" if fleet.not_taken_up_why else ""
    return f"its state cannot be read yet{why}"


def _ratio(value: float | Missing) -> JsonValue:
    return {"missing": value.reason} if isinstance(value, Missing) else round(value, 4)


def _check(name: str, value: object, good: str) -> Check:
    if isinstance(value, Missing):
        return Check(name=name, ok=False, reason=value.reason)
    return Check(name=name, ok=True, reason=good)


def _queue(reading: QueueReading) -> JsonValue:
    value = reading.latest.value
    if isinstance(value, Missing):
        return {"missing": value.reason}
    shown: dict[str, JsonValue] = {"waiting": value.waiting, "delayed": value.delayed}
    stats = reading.stats.value
    for name, part in (
        ("in_flight", in_flight(value, stats)),
        ("oldest_age_s", value.oldest_age_s),
    ):
        shown[name] = {"missing": part.reason} if isinstance(part, Missing) else part
    if not isinstance(stats, Missing):
        for name in ("processing_mean_s", "processing_p95_s", "wait_p95_s"):
            part = getattr(stats, name)
            shown[name] = {"missing": part.reason} if isinstance(part, Missing) else round(part, 3)
    shown["age_s"] = round(reading.latest.age_s, 1)
    return shown
