"""Each benchmark runs as it is documented, in a short form, and prints the keys that it promises.

Method: the script as a process of its own, with real servers and the real daemon. What the figures
are is not judged here: no test asserts a time. What is judged is that they are there, above zero,
and that ratios are those of the printed figures.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

SHORT: dict[str, tuple[str, ...]] = {
    "reaction.py": ("--trials", "2", "--poll-trials", "1"),
    "poll.py": ("--share", "0.01"),
    "idle.py": ("--watch-s", "1", "--starts", "1"),
    "decide.py": ("--rounds", "20"),
}
PROMISED: dict[str, tuple[str, ...]] = {
    "reaction.py": ("event_p50_ms", "event_p99_ms", "poll_p99_ms", "floor_p99_ms", "ratio_p99"),
    "poll.py": ("ratio_1", "ratio_100", "ratio_10000"),
    "idle.py": ("rss_mb", "startup_s"),
    "decide.py": ("decide_us_p50", "tick_us_p50", "record_us_p50"),
}
QUOTIENTS: dict[str, tuple[str, str, str]] = {
    "reaction.py": ("ratio_p99", "event_p99_ms", "floor_p99_ms"),
    "poll.py": ("ratio_100", "p50_100_ms", "reference_p50_100_ms"),
    "idle.py": ("ratio_rss", "rss_mb", "reference_rss_mb"),
    "decide.py": ("ratio_decide_json", "decide_us_p50", "reference_json_us_p50"),
}


def run(script: str, *options: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, str(BENCHMARKS / script), *options],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.mark.parametrize("script", SHORT)
def test_a_benchmark_prints_one_document_with_the_promised_keys(script: str):
    if script == "idle.py" and sys.platform != "linux":
        pytest.skip("idle.py reads /proc")
    ran = run(script, *SHORT[script], "--json")

    assert ran.returncode == 0, ran.stderr
    figures = json.loads(ran.stdout)
    assert {key: figures[key] > 0 for key in PROMISED[script]} == dict.fromkeys(
        PROMISED[script], True
    )
    ratio, ours, reference = QUOTIENTS[script]
    assert figures[ratio] == pytest.approx(figures[ours] / figures[reference], rel=0.05)


def test_an_idle_process_may_take_no_processor_time_that_the_system_counts():
    if sys.platform != "linux":
        pytest.skip("idle.py reads /proc")
    figures = json.loads(run("idle.py", *SHORT["idle.py"], "--json").stdout)
    assert 0 <= figures["cpu_percent"] <= 100


def test_without_json_a_table_names_ours_the_reference_and_the_unit():
    ran = run("decide.py", *SHORT["decide.py"])
    assert ran.returncode == 0, ran.stderr
    lines = ran.stdout.splitlines()
    assert lines[0].split() == ["two", "queues,", "two", "policies", "p50", "µs", "p99", "µs"]
    assert any(line.startswith("reference: ") for line in lines)


@pytest.mark.parametrize("script", SHORT)
def test_help_says_what_is_measured_and_gives_an_example_to_paste(script: str):
    said = run(script, "--help").stdout
    assert f"Example: python benchmarks/{script} --json" in said


@pytest.mark.parametrize("script", ["reaction.py", "idle.py", "decide.py"])
def test_nothing_to_measure_is_a_usage_error(script: str):
    none = {"reaction.py": "--trials", "idle.py": "--starts", "decide.py": "--rounds"}
    ran = run(script, none[script], "0")
    assert ran.returncode == 2
    assert "at least one" in ran.stderr
