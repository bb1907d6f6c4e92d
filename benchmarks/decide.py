"""What one decision costs: decide() alone, a whole tick without an event loop, and its record.

The fleet watches two queues with `target_tracking` and `step` (a minute's periods), a full
stabilization window of five minutes, a rate limit, a cooldown and ten past changes; five polls of
each queue have come in since the tick before. Nothing is to be changed, as in most ticks.

    decide        decide() on one snapshot
    tick          FleetController.tick() by run_inline: the production board and controller, a store
                  in memory, and a recorder that drops what it gets; its clock goes on by 10 s
    tick + record the same with the daemon's recorders: JSON log line (to nowhere), counters,
                  timeline, decision log (its encoding happens later, in the background)

References of the same run: json.dumps of the decision's record, which whoever logs a decision has
to pay, and an empty coroutine by run_inline.

    python benchmarks/decide.py            a table
    python benchmarks/decide.py --json     one document
"""

import gc
import json
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from rig import arguments, quantile, show, table

from metrics.publish.prometheus import Metrics
from scaler.config.specs import build_policies
from scaler.decide.explain import to_record
from scaler.decide.pipeline import decide
from scaler.loop.board import LiveBoard
from scaler.loop.controller import FleetController, run_inline
from scaler.model.change import Change, Outcome
from scaler.model.decision import Decision
from scaler.model.ports import Ports, Recorder
from scaler.model.readings import Capacity, QueueSample
from scaler.model.spec import Behaviour, Bounds, FleetSpec, PolicySpec, RateLimit
from scaler.model.state import ChangeRecord, FleetState
from scaler.record.fanout import Fanout
from scaler.record.log import LogSink, configure
from scaler.record.prometheus import PrometheusSink
from scaler.record.timeline import Timeline
from scaler.state.decision_log import DecisionLog, MemoryLogBackend
from scaler.state.lease import AlwaysHeld
from scaler.state.store import MemoryStore

START_S = 1_772_460_000.0
TICK_S, POLL_S = 10.0, 2.0
WAITING = 24
WARM_UP = 400
"""Ticks before the first figure: the window is full then, and the code is warm."""

SPEC = FleetSpec(
    name="gpu-workers",
    signals=("videos", "images"),
    bounds=Bounds(min=2, max=40),
    policies=(
        PolicySpec(
            name="step",
            type="step",
            params={
                "kind": "step",
                "metric": "queue_depth",
                "period": "60s",
                "scale_out": {"above": 500, "periods": 2, "steps": [{"lower": 0, "change": 2}]},
                "scale_in": {"at_most": 5, "periods": 10, "steps": [{"change": -1}]},
            },
        ),
        PolicySpec(name="backlog", type="target_tracking", params={"target": 5}),
    ),
    behaviour=Behaviour(
        stabilization_in_s=300.0,
        rates_out=(RateLimit(period_s=60.0, percent=100.0),),
        cooldown_in_s=300.0,
    ),
    scale_in="unsafe_by_count",
)
CAPACITY = Capacity(desired=10, in_service=10, target_min=0, target_max=100)


@dataclass(slots=True)
class Hands:
    """A clock that we move."""

    at_s: float = START_S

    def now_s(self) -> float:
        return self.at_s

    def wall_s(self) -> float:
        return self.at_s


class Unused:
    """A target that nothing is asked of."""

    async def describe(self) -> Capacity:
        raise AssertionError("the board describes")

    async def apply(self, change: Change) -> Outcome:
        raise AssertionError(f"this world asks for no change, and here is {change}")


class Dropped:
    """A recorder that keeps the last decision only."""

    last: Decision

    def record(self, decision: Decision, outcome: Outcome) -> None:
        self.last = decision


class World:
    """A fleet on the production board, polled and ticked by hand."""

    def __init__(self, recorder: Recorder) -> None:
        self.clock = Hands()
        self.board = LiveBoard(self.clock)
        changes = tuple(
            ChangeRecord(at_s=START_S - 900.0 + 60.0 * i, before=i, after=i + 1, by=("backlog",))
            for i in range(10)
        )
        self.controller = FleetController(
            spec=SPEC,
            policies=build_policies(SPEC),
            state=FleetState(fleet=SPEC.name, since_s=START_S - 3600.0, changes=changes),
            ports=Ports(
                clock=self.clock,
                board=self.board,
                target=Unused(),
                store=MemoryStore(),
                lease=AlwaysHeld(0),
                recorder=recorder,
            ),
        )

    def poll(self) -> None:
        """The polls and the describe between two ticks."""
        for _ in range(int(TICK_S / POLL_S)):
            self.clock.at_s += POLL_S
            sample = QueueSample(
                waiting=WAITING,
                in_flight=1,
                delayed=0,
                oldest_age_s=3.0,
                server_at_s=self.clock.at_s,
            )
            samples = dict.fromkeys(SPEC.signals, sample)
            self.board.post_samples(samples, asked_at_s=self.clock.at_s)
        self.board.post_capacity(SPEC.name, CAPACITY, asked_at_s=self.clock.at_s)

    def tick_us(self) -> float:
        self.poll()
        began_ns = time.perf_counter_ns()
        run_inline(self.controller.tick())
        return (time.perf_counter_ns() - began_ns) / 1000


def daemon_recorder() -> Recorder:
    """The sinks of the daemon; the log's lines go to nowhere."""
    configure(log_format="json", stream=open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - until the process ends
    metrics = Metrics(version="benchmark")
    log = DecisionLog(MemoryLogBackend(keep=1000), spec_of=lambda _: SPEC, epoch_of=lambda _: 0)
    sinks: dict[str, Recorder] = {
        "log": LogSink(to_record),
        "metrics": PrometheusSink(metrics),
        "timeline": Timeline(to_record),
        "decision_log": _Appended(log),
    }
    return Fanout(sinks, count_error=_refuse)


class _Appended:
    def __init__(self, log: DecisionLog) -> None:
        self._log = log

    def record(self, decision: Decision, outcome: Outcome) -> None:
        self._log.append(decision, outcome)


def _refuse(component: str) -> None:
    raise SystemExit(f"{component} failed")


def timed_us(work: Callable[[], object], rounds: int) -> list[float]:
    figures = []
    for _ in range(rounds):
        began_ns = time.perf_counter_ns()
        work()
        figures.append((time.perf_counter_ns() - began_ns) / 1000)
    return figures


async def _nothing() -> None:
    return None


def measure(rounds: int) -> dict[str, float]:
    """Medians in microseconds, p99 of the first two."""
    dropped = Dropped()
    bare, recorded = World(dropped), World(daemon_recorder())
    for world in (bare, recorded):
        for _ in range(WARM_UP):
            world.tick_us()
    gc.collect()
    ticks, full = [], []
    for _ in range(rounds):  # in turns, so that a busy machine is busy for both
        ticks.append(bare.tick_us())
        full.append(recorded.tick_us())
    decision = dropped.last
    if decision.change is not None or len(decision.snapshot.queues["videos"].points) != 5:
        raise SystemExit("this world is not the one that it says it is")
    policies = bare.controller.policies
    decided = timed_us(lambda: decide(SPEC, policies, decision.snapshot, decision.state), rounds)
    record = to_record(decision, Outcome(kind="unchanged"))
    figures = {
        "decide_us_p50": statistics.median(decided),
        "decide_us_p99": quantile(decided, 0.99),
        "tick_us_p50": statistics.median(ticks),
        "tick_us_p99": quantile(ticks, 0.99),
        "tick_recorded_us_p50": statistics.median(full),
        "record_us_p50": statistics.median(full) - statistics.median(ticks),
        "reference_json_us_p50": statistics.median(timed_us(lambda: json.dumps(record), rounds)),
        "reference_coroutine_us_p50": statistics.median(
            timed_us(lambda: run_inline(_nothing()), rounds)
        ),
    }
    figures["ratio_decide_json"] = figures["decide_us_p50"] / figures["reference_json_us_p50"]
    return {name: round(figure, 2) for name, figure in figures.items()}


def main() -> None:
    options = arguments(__doc__, script="decide.py")
    options.add_argument("--rounds", type=int, default=5000, help="of each (default 5000)")
    given = options.parse_args()
    if given.rounds < 1:
        options.error("at least one round")
    figures = measure(given.rounds)
    rows = [
        ["decide()", f"{figures['decide_us_p50']:.1f}", f"{figures['decide_us_p99']:.1f}"],
        [
            "tick, nothing recorded",
            f"{figures['tick_us_p50']:.1f}",
            f"{figures['tick_us_p99']:.1f}",
        ],
        ["tick and record", f"{figures['tick_recorded_us_p50']:.1f}", ""],
        ["reference: json.dumps of the record", f"{figures['reference_json_us_p50']:.1f}", ""],
        ["reference: empty coroutine", f"{figures['reference_coroutine_us_p50']:.1f}", ""],
    ]
    show(figures, table(["two queues, two policies", "p50 µs", "p99 µs"], rows), as_json=given.json)


if __name__ == "__main__":
    main()
