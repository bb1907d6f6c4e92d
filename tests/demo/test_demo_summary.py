"""The demo's answer: the JSON document's shape, the table's rows, the lines and the plot.

Method: a small day made by hand, and everything that is shown of it.
"""

import io
import json
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

from scaler.demo import plot, stage, view
from scaler.demo.account import InstanceBook, JobBook
from scaler.demo.decisions import DecisionBook
from scaler.demo.load import SPEED, arrivals
from scaler.demo.run import OBJECTIVE, Shown
from scaler.demo.stage import Sample, Side
from scaler.demo.summary import USD_PER_WORKER_HOUR, Pace, Summary, design, notes, table

BEGIN_S = 1_772_460_000.0
HOUR_S = 3600.0
REQUIRED = {
    "jobs_done",
    "wait_p95_s",
    "attainment_ratio",
    "scale_out",
    "scale_in",
    "datapoints",
    "worker_hours",
    "cost_usd",
    "jobs_interrupted",
}


def side(keys: stage.QueueKeys, *, wait_s: float) -> Side:
    """Twenty jobs with one wait, and one worker all the time."""
    jobs, instances = JobBook(), InstanceBook()
    instances.note("i-1", "Pending", at_s=BEGIN_S - 400)
    instances.note("i-1", "InService", at_s=BEGIN_S - 220)
    for number in range(20):
        at_s = BEGIN_S + 60.0 * number
        jobs.arrive(number, at_s=at_s)
        jobs.start(number, at_s=at_s + wait_s)
        jobs.finish(number, at_s=at_s + wait_s + 50)
    samples = [
        Sample(at_s=BEGIN_S + 24.0 * n, waiting=n % 7, oldest_wait_s=float(n)) for n in range(140)
    ]
    return Side(keys=keys, jobs=jobs, instances=instances, samples=samples)


@pytest.fixture
def shown() -> Shown:
    end_s = BEGIN_S + HOUR_S
    ours, theirs = side(stage.OURS, wait_s=3.0), side(stage.ALARM_ONLY, wait_s=600.0)
    designs = [
        design(
            one.jobs,
            one.instances,
            from_s=BEGIN_S,
            to_s=end_s,
            objective=OBJECTIVE,
            datapoints={"QueueDepth": 60},
        )
        for one in (ours, theirs)
    ]
    summary = Summary(
        seed=7,
        seconds=15.0,
        speed=SPEED,
        clock_s=HOUR_S,
        interrupted=False,
        objective=OBJECTIVE,
        daemon=designs[0],
        alarm_only=designs[1],
        pace=Pace(decisions=360, tick_s=10.0, gap_p50_s=10.0, gap_p95_s=10.4, gap_max_s=12.0),
    )
    load = arrivals(seed=7, duration_s=HOUR_S)
    return Shown(summary=summary, load=load, ours=ours, theirs=theirs, begin_s=BEGIN_S, end_s=end_s)


def test_the_document_has_both_designs_under_the_same_keys(shown):
    document = json.loads(json.dumps(shown.summary.record()))

    assert set(document) >= REQUIRED
    assert set(document["alarm_only"]) >= REQUIRED
    assert document["alarm_only"]["attainment_ratio"] == 0.0
    assert document["attainment_ratio"] == 1.0
    assert document["wait_p95_s"] == 3.0
    assert document["seed"] == 7


def test_an_hour_of_one_worker_costs_an_hour_of_one_worker(shown):
    document = shown.summary.record()

    assert document["worker_hours"] == 1.0
    assert document["cost_usd"] == round(USD_PER_WORKER_HOUR, 2)


def test_a_day_without_jobs_says_so_instead_of_a_figure():
    empty = design(
        JobBook(), InstanceBook(), from_s=0, to_s=1, objective=OBJECTIVE, datapoints={}
    ).record()

    assert empty["wait_p95_s"] is None
    assert empty["attainment_ratio"] is None
    assert empty["jobs_done"] == 0


def printed(thing: object) -> str:
    out = io.StringIO()
    Console(file=out, width=120).print(thing)
    return out.getvalue()


def test_the_table_shows_both_designs(shown):
    text = printed(table(shown.summary))

    assert "started within 60 s" in text
    assert "100.0 %" in text
    assert "10.0 min" in text


def test_the_notes_say_what_was_compressed_and_what_a_worker_costs(shown):
    text = "\n".join(notes(shown.summary))

    assert "240 times as fast" in text
    assert "24 h is squeezed into 8 h" in text
    assert "$0.526" in text


def test_an_interrupted_demo_says_that_it_is_a_part(shown):
    text = "\n".join(notes(replace(shown.summary, interrupted=True)))

    assert "part of the day" in text


def test_the_plot_is_an_svg_that_names_both_designs(shown, tmp_path):
    path = tmp_path / "demo.svg"
    plot.write(shown, path)

    assert ET.parse(path).getroot().tag.endswith("svg")
    figure = plot.draw(shown)
    assert "ascension-scaler" in figure.get_suptitle()
    legends = [axes.get_legend() for axes in figure.axes]
    assert all(legend is not None for legend in legends)
    names = [text.get_text() for legend in legends for text in legend.get_texts()]
    assert names.count("ascension-scaler") == 2
    assert names.count("alarm-only") == 2


def event(**fields: object) -> dict[str, object]:
    made = {
        "event": "decision",
        "at": "2026-03-02T14:20:00.000Z",
        "level": "info",
        "fleet": "gpu-workers",
        "current": 3,
        "desired": 5,
        "in_service": 3,
        "outcome": "applied",
        "sentence": "scale out 3 → 5: 4 jobs wait",
    }
    return {**made, **fields}


def scene(shown: Shown, decisions: DecisionBook) -> view.Scene:
    return view.Scene(
        seconds=15.0,
        begin_s=shown.begin_s,
        end_s=shown.end_s,
        objective=OBJECTIVE,
        ours=shown.ours,
        theirs=shown.theirs,
        decisions=decisions,
        daemon_url="http://127.0.0.1:1",
        speed=SPEED,
    )


def test_the_live_screen_shows_queue_capacity_decisions_and_cost(shown):
    decisions = DecisionBook()
    decisions.hear(event())
    text = printed(view.screen(scene(shown, decisions), now_s=shown.end_s))

    for words in ("jobs waiting", "oldest waits", "workers", "cost so far", "$0.53"):
        assert words in text
    assert "scale out 3 → 5: 4 jobs wait" in text


def test_the_live_screen_fits_a_terminal_of_80_by_24(shown):
    decisions = DecisionBook()
    for number in range(8):
        decisions.hear(event(sentence=f"scale out 3 → 5: change {number}"))
    decisions.hear(event(fleet="gpu-workers", outcome="unchanged", sentence="stay at 5: now"))
    out = io.StringIO()
    busy = scene(shown, decisions)
    Console(file=out, width=80).print(view.screen(busy, now_s=shown.end_s, width=80, height=24))
    lines = out.getvalue().splitlines()

    assert len(lines) < 24
    assert max(map(len, lines)) <= 80
    assert "clock ×" in lines[0]
    assert "API tasks" in lines[0]
    assert "stay at 5: now" in "".join(lines)
    assert "Ctrl-C" in lines[-1]


def test_a_plain_line_tells_both_designs_and_the_last_change(shown):
    decisions = DecisionBook()
    decisions.hear(event())
    text = view.line(scene(shown, decisions), now_s=shown.end_s)

    assert "ascension-scaler: 6 waiting, workers 1, 100.0 % in time" in text
    assert "alarm-only: 6 waiting, workers 1, 0.0 % in time" in text
    assert "gpu-workers 3 → 5" in text


def test_only_applied_changes_count_as_moves():
    decisions = DecisionBook()
    decisions.hear(event(outcome="refused"))
    decisions.hear(event(desired=3, outcome="unchanged"))

    assert not decisions.moves
    assert decisions.newest["gpu-workers"].desired == 3


def test_the_pace_is_the_distance_of_decisions_on_one_fleet():
    decisions = DecisionBook()
    for second in (0, 10, 20, 45):
        decisions.hear(event(at=f"2026-03-02T14:20:{second:02d}.000Z"))
        decisions.hear(event(at=f"2026-03-02T14:20:{second:02d}.500Z", fleet="api"))
    pace = decisions.pace("gpu-workers", tick_s=10.0)

    assert (pace.decisions, pace.gap_p50_s, pace.gap_max_s) == (4, 10.0, 25.0)


def test_trouble_in_the_daemons_log_is_shown():
    decisions = DecisionBook()
    decisions.hear({"event": "conflict", "level": "warning", "text": "another policy acts here"})

    assert list(decisions.trouble) == ["conflict: another policy acts here"]
