"""What the daemon shows of itself is what its decisions see: old readings are missing there too.

Method: the real view over a real board and loop; readings are posted with the age they shall have.
"""

import pytest
from builders import ScriptedPolicy, capacity, sample, spec_of

from metrics.publish.prometheus import Metrics
from scaler.decide.explain import to_record
from scaler.loop.board import LiveBoard
from scaler.loop.clock import SystemClock
from scaler.loop.controller import FleetController
from scaler.loop.fleet import FleetLoop
from scaler.loop.poller import CapacityPolling
from scaler.model.change import Change, Outcome
from scaler.model.ports import Ports
from scaler.model.readings import Capacity
from scaler.model.state import FleetState
from scaler.operate.view import DaemonView
from scaler.record.timeline import Timeline
from scaler.state.lease import AlwaysHeld
from scaler.state.store import MemoryStore


class Target:
    async def describe(self) -> Capacity:
        return capacity(3)

    async def apply(self, change: Change) -> Outcome:
        return Outcome(kind="applied")


async def nothing(*_: object) -> list:
    return []


def view_of(*, sample_age_s: float, capacity_age_s: float) -> DaemonView:
    clock = SystemClock()
    board = LiveBoard(clock)
    now_s = clock.now_s()
    board.post_samples({"videos": sample(34)}, asked_at_s=now_s - sample_age_s)
    board.post_capacity("gpu", capacity(3), asked_at_s=now_s - capacity_age_s)
    timeline, target = Timeline(to_record), Target()
    loop = FleetLoop(
        controller=FleetController(
            spec=spec_of(stale_after_s=60.0),
            policies=[ScriptedPolicy(3)],
            state=FleetState(fleet="gpu", since_s=0.0),
            ports=Ports(
                clock=clock,
                board=board,
                target=target,
                store=MemoryStore(),
                lease=AlwaysHeld(1),
                recorder=timeline,
            ),
        ),
        capacity=CapacityPolling(
            fleet="gpu", target=target, board=board, clock=clock, describe_s=10.0
        ),
        clock=clock,
        tick_s=10.0,
        take_up=nothing,
        on_tick=lambda _, __: None,
        on_error=lambda _, __: None,
    )
    loop.taken_up = True
    return DaemonView(
        version="0.1.0",
        environment="test",
        dry_run=False,
        clock=clock,
        board=board,
        registry=Metrics(version="0.1.0"),
        timeline=timeline,
        past=nothing,
        reload_error=lambda: "",
        publish_lag_s=lambda: 0.0,
        conflicts=dict,
        attainment=lambda spec: 0.97,
        fleets=[loop],
        queues=["videos"],
        stale_after_s=60.0,
    )


@pytest.mark.parametrize(
    ("sample_age_s", "capacity_age_s", "unready"),
    [(0.0, 0.0, []), (300.0, 0.0, ["queue.videos"]), (0.0, 300.0, ["target.gpu"])],
)
def test_a_stale_reading_is_neither_ready_nor_on_the_page(sample_age_s, capacity_age_s, unready):
    view = view_of(sample_age_s=sample_age_s, capacity_age_s=capacity_age_s)
    page = view.metrics("")[0].decode()

    assert [check.name for check in view.readiness() if not check.ok] == unready
    assert all("stale" in check.reason for check in view.readiness() if not check.ok)
    assert ('ascension_scaler_queue_depth{queue="videos"} 34' in page) == (sample_age_s == 0)
    assert ("ascension_scaler_capacity_desired" in _series(page)) == (capacity_age_s == 0)


def _series(page: str) -> set[str]:
    lines = (line for line in page.splitlines() if not line.startswith("#"))
    return {line.partition("{")[0] for line in lines}
