"""The page of `status` and `explain` lists exactly the fields that they answer with.

Method: the daemon's own view, over real board, timeline and controller, answers about a fleet in
several conditions; the paths of all fields seen are compared with the page's tables, both ways.
The page's text examples are what the commands print for the page's own documents.
"""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from builders import ScriptedPolicy, capacity, sample, spec_of

from metrics.publish.prometheus import Metrics
from policies.base import Policy
from scaler.cli import explain as explain_text
from scaler.cli import status as status_text
from scaler.decide.explain import to_record
from scaler.loop.board import LiveBoard
from scaler.loop.clock import SystemClock
from scaler.loop.controller import FleetController, run_inline
from scaler.loop.fleet import FleetLoop
from scaler.loop.poller import CapacityPolling
from scaler.model.change import Change, Outcome
from scaler.model.decision import Decision
from scaler.model.ports import Ports
from scaler.model.readings import Capacity, Missing, WorkerStats
from scaler.model.spec import FleetSpec
from scaler.model.state import FleetState
from scaler.operate.explain import Explanation, explain
from scaler.operate.view import DaemonView
from scaler.record.timeline import Timeline
from scaler.state.lease import AlwaysHeld
from scaler.state.store import MemoryStore

PAGE = (Path(__file__).parents[2] / "docs/reference/status-and-explain.md").read_text()
NAMED = {"videos": "QUEUE", "other": "QUEUE", "gpu": "FLEET", "gpu-workers": "FLEET"}
OPAQUE = {"inputs"}
STATS = WorkerStats(
    window_s=300.0,
    starts=4,
    completions=3,
    in_flight=1,
    processing_mean_s=12.0,
    processing_p95_s=30.0,
    wait_p95_s=Missing("no report tells when its job arrived"),
)


class Target:
    """Accepts every change."""

    async def describe(self) -> Capacity | Missing:
        return capacity(3)

    async def apply(self, change: Change) -> Outcome:
        return Outcome(kind="applied", took_s=0.1)


class Rig:
    """One fleet's real view and controller."""

    def __init__(self, spec: FleetSpec, policies: Sequence[Policy]) -> None:
        self.clock = SystemClock()
        self.board = LiveBoard(self.clock)
        self.timeline = Timeline(to_record)
        self.timeline.keep(["gpu"])
        self.decided: list[tuple[Decision, Outcome]] = []
        self.spec, self.policies = spec, policies
        target = Target()
        controller = FleetController(
            spec=spec,
            policies=policies,
            state=FleetState(fleet="gpu", since_s=0.0),
            ports=Ports(
                clock=self.clock,
                board=self.board,
                target=target,
                store=MemoryStore(),
                lease=AlwaysHeld(0),
                recorder=self,
            ),
        )
        loop = FleetLoop(
            controller=controller,
            capacity=CapacityPolling(
                fleet="gpu", target=target, board=self.board, clock=self.clock, describe_s=10.0
            ),
            clock=self.clock,
            tick_s=10.0,
            take_up=self._take_up,
            on_tick=lambda _, __: None,
            on_error=lambda _, __: None,
        )
        self.controller = controller
        self.view = DaemonView(
            version="0.1.0",
            environment="test",
            dry_run=False,
            clock=self.clock,
            board=self.board,
            registry=Metrics(version="0.1.0"),
            timeline=self.timeline,
            past=self._past,
            reload_error=lambda: "",
            publish_lag_s=lambda: 0.0,
            conflicts=lambda: {"gpu": ("old-policy scales it too",)},
            attainment=lambda spec: 0.97,
            fleets=[loop],
            queues=["videos"],
        )

    def record(self, decision: Decision, outcome: Outcome) -> None:
        self.decided.append((decision, outcome))
        self.timeline.record(decision, outcome)

    async def _take_up(self, controller: FleetController) -> None:
        raise AssertionError("nothing is taken up here")

    async def _past(self, fleet: str, last: int, at_s: float | None) -> list[Explanation]:
        return [
            explain(self.spec, decision, outcome, epoch=1, build=lambda _: self.policies)
            for decision, outcome in reversed(self.decided)
        ]

    def documents(self) -> tuple[object, object]:
        records = run_inline(self.view.explanations("gpu", last=20, at_s=None))
        return self.view.status(), {"fleet": "gpu", "decisions": records}


def played() -> Iterator[tuple[object, object]]:
    """What `status` and `explain` answer in different conditions."""
    policies = [ScriptedPolicy(6), ScriptedPolicy(None, name="calendar", low=3, high=9)]
    rig = Rig(spec_of(policies=(), scale_in="hold"), policies)
    yield rig.documents()
    now_s = rig.clock.now_s()
    rig.board.post_samples({"videos": sample(34, in_flight=2)}, asked_at_s=now_s)
    rig.board.post_stats("videos", STATS, at_s=now_s)
    rig.board.post_capacity("gpu", capacity(3), asked_at_s=now_s)
    run_inline(rig.controller.tick())
    yield rig.documents()
    rig.policies = rig.controller.policies = [ScriptedPolicy(1)]
    gone = {"videos": Missing("connection refused")}
    rig.board.post_samples(gone, asked_at_s=rig.clock.now_s())
    run_inline(rig.controller.tick())
    yield rig.documents()
    rig.board.post_capacity("gpu", Missing("throttled"), asked_at_s=rig.clock.now_s())
    run_inline(rig.controller.tick())
    yield rig.documents()


def paths(node: object, at: str = "") -> Iterator[str]:
    """The path of every field; configured names are QUEUE and FLEET."""
    if isinstance(node, dict) and node and set(node) != {"missing"}:
        for key, value in node.items():
            below = f"{at}.{NAMED.get(key, key)}".removeprefix(".")
            if key in OPAQUE:
                yield below
            else:
                yield from paths(value, below)
    elif isinstance(node, list) and node and isinstance(node[0], dict):
        for value in node:
            yield from paths(value, f"{at}[]")
    else:
        yield at


def rows(which: str) -> set[str]:
    table = PAGE.partition(f"<!-- fields: {which} -->")[2].partition("\n## ")[0]
    return set(re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE))


def leaves(names: set[str]) -> set[str]:
    """Without maps whose own fields are there too, and lists that may be empty."""
    return {n for n in names if not any(m.startswith((f"{n}.", f"{n}[")) for m in names)}


def document(which: str) -> dict[str, object]:
    text = PAGE.partition(f"<!-- document: {which} -->\n```json\n")[2].partition("```")[0]
    parsed: dict[str, object] = json.loads(text)
    return parsed


def example(which: str) -> str:
    return PAGE.partition(f"<!-- from: {which} -->\n```text\n")[2].partition("```")[0]


@pytest.mark.parametrize(("which", "index"), [("status", 0), ("explain", 1)])
def test_the_tables_list_exactly_the_fields_that_are_answered(which: str, index: int):
    seen = {path for answer in played() for path in paths(answer[index])}
    missing_maps = {path for path in seen if path in rows(which) - leaves(rows(which))}

    assert leaves(seen) == leaves(rows(which))
    assert missing_maps >= rows(which) - leaves(rows(which)), "each 'or missing' map was seen so"


@pytest.mark.parametrize("which", ["status", "explain"])
def test_the_example_has_the_fields_of_the_table(which: str):
    shown = set(paths(document(which)))
    only_sometimes = {path for path in rows(which) if path.endswith(("[].min", "[].max"))}

    assert leaves(shown) >= leaves(rows(which)) - only_sometimes
    assert leaves(shown) <= rows(which)


def test_the_text_of_status_is_what_the_command_prints():
    assert example("status") == status_text.page(document("status"))  # type: ignore[arg-type]


def test_the_text_of_explain_is_what_the_command_prints():
    decisions = document("explain")["decisions"]
    assert isinstance(decisions, list)
    assert example("explain") == "\n".join(explain_text.page(one) for one in decisions)


def test_a_decision_that_computes_otherwise_is_shown_as_not_proven():
    (decision,) = document("explain")["decisions"]  # type: ignore[misc]
    text = explain_text.page({**decision, "proven": False, "differences": ["desired was 6"]})

    assert "NOT PROVEN  desired was 6" in text
    assert "`NOT PROVEN`" in PAGE
