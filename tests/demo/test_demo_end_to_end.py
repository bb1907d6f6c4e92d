"""The demo as users start it: real Redis, endpoint, daemon and workers; and nothing stays behind.

Method: the command in a session of its own. Children stay in it even when their parent is gone, so
survivors are found whatever they are called. Linux only: /proc.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from scaler.api.client import get_json

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="finds processes by /proc, which is Linux's"
)

LAUNCH = "from scaler.cli import main; main()"
DEADLINE_S = 60.0


@dataclass
class Started:
    """A running demo."""

    process: subprocess.Popen[str]
    plot: Path

    def processes(self) -> dict[int, str]:
        """Command lines of the processes of its session by pid, zombies aside."""
        found = {}
        for entry in Path("/proc").iterdir():
            try:
                if not entry.name.isdigit():
                    continue
                state, _, _, session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
                if int(session) == self.process.pid and state != "Z":
                    command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    found[int(entry.name)] = command
            except OSError:  # it ended meanwhile
                continue
        return found

    def until_line(self, words: str) -> str:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if words in line:
                return line
        raise AssertionError(f"it ended without saying {words!r}")

    def until_a_job_is_reported(self) -> None:
        """The day has begun and the daemon has heard of a finished job."""
        found = re.search(r"http://\S+", self.until_line("the day begins"))
        assert found is not None
        deadline = time.monotonic() + DEADLINE_S
        while True:
            queue = get_json(found[0], "/api/v1/status")["queues"]["videos"]
            if isinstance(queue.get("processing_p95_s"), float):
                return
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def kill(self, words: str) -> None:
        """SIGKILL the one process whose command line holds these words."""
        (pid,) = [pid for pid, command in self.processes().items() if words in command]
        os.kill(pid, signal.SIGKILL)

    def until_all_are_gone(self) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while left := self.processes():
            assert time.monotonic() < deadline, left
            time.sleep(0.05)


@pytest.fixture
def start(tmp_path: Path) -> Iterator:
    started: list[Started] = []

    def _start(seconds: float) -> Started:
        plot = tmp_path / "demo.svg"
        process = subprocess.Popen(
            [
                *(sys.executable, "-c", LAUNCH, "demo", "--json", "--plain"),
                *("--seconds", str(seconds), "--plot", str(plot)),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(Started(process, plot))
        return started[-1]

    yield _start
    for demo in started:
        if demo.process.poll() is None:
            demo.process.kill()
        demo.process.communicate()


def check(document: dict) -> None:
    """What must hold of each design's part."""
    assert document["jobs_done"] > 0
    assert document["jobs_arrived"] >= document["jobs_done"]
    assert document["wait_p95_s"] >= document["wait_p50_s"] >= 0
    assert 0 <= document["attainment_ratio"] <= 1
    assert document["datapoints"] > 0
    assert document["worker_hours"] > 0
    assert document["cost_usd"] == pytest.approx(document["worker_hours"] * 0.526, abs=0.01)
    assert document["jobs_interrupted"] >= 0


def test_a_short_demo_measures_both_designs_and_leaves_nothing_running(start):
    demo = start(12)
    out, talk = demo.process.communicate(timeout=100)

    assert demo.process.returncode == 0, talk
    document = json.loads(out)
    check(document)
    check(document["alarm_only"])
    assert document["scale_out"] > 0
    assert document["alarm_only"]["scale_in"] == 0
    assert document["datapoints_by_metric"].keys() == {"QueueDepth", "ProcessingTime"}
    assert all(document["datapoints_by_metric"].values())
    assert document["pace"]["decisions"] > 0
    assert document["jobs_arrived"] == document["alarm_only"]["jobs_arrived"]
    assert document["interrupted"] is False
    assert demo.plot.read_text().startswith("<?xml")
    assert "waiting" in talk
    demo.until_all_are_gone()


def test_ctrl_c_sums_up_what_was_measured_and_leaves_nothing_running(start):
    demo = start(60)
    demo.until_a_job_is_reported()
    os.killpg(demo.process.pid, signal.SIGINT)  # a terminal sends it to all of them
    out, talk = demo.process.communicate(timeout=DEADLINE_S)

    assert demo.process.returncode == 130, talk
    document = json.loads(out)
    check(document)
    assert document["interrupted"] is True
    assert document["seconds"] < 60
    assert not demo.plot.exists()
    demo.until_all_are_gone()


def test_an_interruption_before_the_day_ends_it_at_once(start):
    demo = start(60)
    demo.until_line("starting")
    os.killpg(demo.process.pid, signal.SIGINT)
    out, talk = demo.process.communicate(timeout=DEADLINE_S)

    assert (demo.process.returncode, out) == (130, "")
    assert "before the day began" in talk
    demo.until_all_are_gone()


def test_a_killed_demo_takes_its_processes_with_it(start):
    demo = start(60)
    demo.until_line("the day begins")
    assert len(demo.processes()) == 4  # the demo, Redis, the endpoint, the daemon
    demo.process.kill()

    demo.until_all_are_gone()


@pytest.mark.parametrize("part", ["valkey", "scaler.demo.cloud", "run --config"])
def test_a_part_that_dies_ends_the_demo_with_a_sentence(start, part):
    demo = start(60)
    demo.until_line("the day begins")
    demo.kill(part)
    out, talk = demo.process.communicate(timeout=DEADLINE_S)

    assert (demo.process.returncode, out) == (4, ""), talk
    assert talk.splitlines()[-1].startswith("ascension-scaler: ")
    assert "Traceback" not in talk
    demo.until_all_are_gone()


def test_a_plot_that_cannot_be_written_is_refused_before_the_day(start, tmp_path):
    from scaler.cli.demo import demo_command
    from scaler.model.errors import ConfigError

    with pytest.raises(ConfigError, match="directory does not exist"):
        demo_command(plot=tmp_path / "none" / "demo.svg")
    with pytest.raises(ConfigError, match="--seconds is 0"):
        demo_command(seconds=0)
