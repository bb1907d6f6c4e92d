"""Examples on documentation pages: a fragment of configuration, a situation, the code's sentence.

A page shows `<!-- example: NAME -->`, a block `yaml fleet` with keys of a fleet, words about the
situation, and a block `text` with the sentence. The situations stand in the tests.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path

import yaml
from builders import capacity, sample

from scaler.config.schema import Config
from scaler.config.specs import build_policies, fleet_specs
from scaler.decide.explain import sentence
from scaler.decide.pipeline import decide
from scaler.model.change import Outcome
from scaler.model.decision import Decision
from scaler.model.readings import Capacity, DepthPoint, Missing, QueueReading, Reading, Snapshot
from scaler.model.spec import FleetSpec
from scaler.model.state import ChangeRecord, FleetState, WindowPoint

DOCS = Path(__file__).parents[2] / "docs"
AT_S = 120_000.0
"""Now, in every example: the beginning of a minute."""

_EXAMPLE = re.compile(
    r"<!-- example: (.+?) -->\n```yaml fleet\n(.*?)```\n(?:.*?)```text\n(.*?)\n```", re.DOTALL
)


@dataclass(frozen=True, kw_only=True)
class Situation:
    """What a page says in words above a sentence.

    Attributes:
        wanted: what the policies wanted in the last ten minutes, as (seconds ago, workers).
        changes: past writes, as (seconds ago, before, after); by the policy `queue-depth`.
        depths: past polls, as (seconds ago, jobs waiting).
        settled_for_s: since when the last scaling activity is complete; None: one is under way.
        outcome: what became of the write.
    """

    current: int | Capacity | Missing
    waiting: int | Missing
    in_flight: int | Missing = 0
    wanted: tuple[tuple[float, int], ...] = ()
    changes: tuple[tuple[float, int, int], ...] = ()
    depths: tuple[tuple[float, int], ...] = ()
    missing_for_s: float | None = None
    settled_for_s: float | None = 1000.0
    since_s: float = 0.0
    outcome: Outcome = Outcome(kind="applied")  # noqa: RUF009 - a frozen value

    def snapshot(self) -> Snapshot:
        standing = capacity(self.current) if isinstance(self.current, int) else self.current
        looked = (
            self.waiting
            if isinstance(self.waiting, Missing)
            else sample(self.waiting, in_flight=self.in_flight)
        )
        points = tuple(
            DepthPoint(at_s=AT_S - ago, waiting=depth, in_flight=0, oldest_age_s=0.0)
            for ago, depth in self.depths
        )
        return Snapshot(
            at_s=AT_S,
            wall_s=AT_S,
            capacity=Reading(standing, 0.0),
            settled_since_s=None if self.settled_for_s is None else AT_S - self.settled_for_s,
            queues={"videos": QueueReading(latest=Reading(looked, 0.0), points=points)},
        )

    def state(self) -> FleetState:
        return FleetState(
            fleet="gpu",
            since_s=self.since_s,
            window=tuple(WindowPoint(at_s=AT_S - ago, low=n, high=n) for ago, n in self.wanted),
            changes=tuple(
                ChangeRecord(at_s=AT_S - ago, before=before, after=after, by=("queue-depth",))
                for ago, before, after in self.changes
            ),
            missing_since_s=None if self.missing_for_s is None else AT_S - self.missing_for_s,
        )


def examples(page: str) -> dict[str, tuple[str, str]]:
    """A page's fragments with their sentences, by the name of the example."""
    return {
        name: (fragment, " ".join(words.split()))
        for name, fragment, words in _EXAMPLE.findall(page)
    }


def fleet(fragment: str) -> FleetSpec:
    """The fleet of the pages: 2 to 10 workers, five jobs a worker, and what the fragment says."""
    document = {
        "version": 1,
        "redis": {"url": "redis://localhost"},
        "queues": {"videos": {"type": "list", "key": "videos"}},
        "fleets": {
            "gpu": {
                "target": {"type": "asg", "name": "gpu"},
                "signals": ["videos"],
                "bounds": {"min": 2, "max": 10},
                "policies": [{"type": "target_tracking", "target": 5}],
                "scale_in": "unsafe_by_count",
                **yaml.safe_load(fragment),
            }
        },
    }
    (spec,) = fleet_specs(Config.model_validate(document))
    return spec


def decided(spec: FleetSpec, situation: Situation) -> Decision:
    """What the fleet decides in this situation."""
    return decide(spec, build_policies(spec), situation.snapshot(), situation.state())[0]


def said(fragment: str, situation: Situation) -> str:
    """The sentence of that decision."""
    decision = decided(fleet(fragment), situation)
    unchanged = replace(situation.outcome, kind="unchanged")
    return sentence(decision, situation.outcome if decision.change else unchanged)
