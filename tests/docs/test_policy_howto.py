"""The policy on the page "write your own policy" is a policy: it loads, validates, decides.

Method: the page's files are written to a directory on the path; the entry point comes from its
pyproject.toml and goes through the real registry; its own tests run.
"""

import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import yaml
from builders import reading, snapshot_of, spec_of
from page_examples import DOCS
from pydantic import ValidationError

from policies.describe import parameters, summary
from policies.registry import GROUP, Installed, build_from, discover
from scaler.decide.pipeline import decide
from scaler.model.readings import Missing, Reading, WorkerStats
from scaler.model.spec import PolicySpec
from scaler.model.state import FleetState

PAGE = (DOCS / "howto/write-your-own-policy.md").read_text()
BUSY = WorkerStats(
    window_s=300.0,
    starts=10,
    completions=10,
    in_flight=2,
    processing_mean_s=20.0,
    processing_p95_s=30.0,
    wait_p95_s=Missing("no report tells when its job arrived"),
)


def block(info: str, *, starting: str = "") -> str:
    for found in re.findall(rf"^```{info}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE):
        if found.startswith(starting):
            return str(found)
    raise AssertionError(f"the page has no block {info} that starts with {starting!r}")


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installed]:
    """The page's package, discovered by its own entry point."""
    project = tomllib.loads(block("toml"))
    ((name, value),) = project["project"]["entry-points"][GROUP].items()
    (file,) = project["tool"]["hatch"]["build"]["targets"]["wheel"]["include"]
    (tmp_path / file).write_text(block("python", starting='"""Workers'))
    monkeypatch.syspath_prepend(str(tmp_path))
    yield discover([EntryPoint(name=name, value=value, group=GROUP)])
    sys.modules.pop(value.partition(":")[0], None)


def page_policies() -> list[PolicySpec]:
    document = yaml.safe_load(block("yaml own"))
    return [
        PolicySpec(
            name=entry["type"],
            type=entry["type"],
            params={key: value for key, value in entry.items() if key != "type"},
        )
        for entry in document["policies"]
    ]


def test_it_is_discovered_without_a_complaint_and_described_as_the_page_shows(
    installed: Installed,
):
    assert dict(installed.broken) == {}
    params = installed.policies["clear_backlog"].Params
    (row,) = parameters(params)
    shown = block("text")

    assert shown.startswith(f"clear_backlog: {summary(params)}\n")
    assert f"{row.path:<28} {row.type}; {row.default}\n" in shown
    assert row.description in shown


def test_it_decides_through_the_real_pipeline(installed: Installed):
    policy = build_from(installed, page_policies()[0])
    snapshot = snapshot_of(120, in_flight=2)
    queue = replace(reading(120, in_flight=2), stats=Reading(BUSY, 0.0))
    state = FleetState(fleet="gpu", since_s=0.0)
    decision, _ = decide(spec_of(), [policy], replace(snapshot, queues={"videos": queue}), state)

    assert decision.desired == 8
    assert decision.recommendations[0].reason == (
        "2400 s of work within 300 s need 8 workers, 2 are busy"
    )


def test_its_parameters_are_its_own_and_wrong_ones_are_refused(installed: Installed):
    with pytest.raises(ValidationError, match="within"):
        build_from(installed, PolicySpec(name="a", type="clear_backlog", params={"within": 300}))


def test_it_hints_at_a_time_shorter_than_the_boot(installed: Installed):
    policy = build_from(
        installed, PolicySpec(name="a", type="clear_backlog", params={"within": "60s"})
    )

    assert [hint.path for hint in policy.hints(spec_of(boot_time_s=180.0))] == [("within",)]
    assert policy.hints(spec_of(boot_time_s=60.0)) == ()


@pytest.mark.usefixtures("installed")
def test_its_own_tests_pass():
    names: dict[str, object] = {}
    exec(compile(block("python test"), "write-your-own-policy.md", "exec"), names)
    tests = [test for name, test in names.items() if name.startswith("test_")]

    assert len(tests) == 3
    for test in tests:
        assert callable(test)
        test()
