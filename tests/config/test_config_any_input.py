"""Whatever stands in a file, loading either works or says what is wrong; nothing else is raised.

Method: a configuration that uses every section, with one random value put at one random place.
"""

import copy
import tempfile
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from scaler.config.load import load
from scaler.config.report import ConfigProblems, Problem

SHIPPED = Path(__file__).parents[2] / "deploy/config/production.yaml"
WHOLE = yaml.safe_load(SHIPPED.read_text(encoding="utf-8")) | {
    "redis": {"url": "redis://h", "mode": "standalone", "password": "x", "timeout": "1s"},
    "reports": {"window": "5m"},
    "state": {"store": "file", "directory": "/x"},
    "log": {"level": "info"},
    "sentry": {"dsn": "https://x@y/1"},
    "decisions": {"keep": 5},
}
WHOLE["fleets"]["api"]["policies"].append(
    {"type": "schedule", "timezone": "UTC", "entries": [{"cron": "0 8 * * *", "min": 3}]}
)


def _paths(value, path=()):
    yield path
    children = value.items() if isinstance(value, dict) else ()
    for key, child in (*children, *(enumerate(value) if isinstance(value, list) else ())):
        yield from _paths(child, (*path, key))


PATHS = [path for path in _paths(WHOLE) if path]
anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["list", "step", "60s", "", "${X}", "drain", "videos", "-1s", "[", "é\n"])
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["type", "key", "min", "steps", "x", "in", "1"]), inner)
    ),
    max_leaves=6,
)


def _problems(content: bytes) -> tuple[Problem, ...]:
    """What is wrong with a file of this content; empty: it loads."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "x.yaml"
        file.write_bytes(content)
        try:
            load([file], {"REDIS_URL": "redis://h"})
        except ConfigProblems as error:
            return error.problems or pytest.fail("refused without a problem")
        return ()


@settings(max_examples=300)
@given(path=st.sampled_from(PATHS), value=anything)
def test_any_value_anywhere_loads_or_is_a_problem_in_a_place(path, value):
    data = copy.deepcopy(WHOLE)
    section = data
    for part in path[:-1]:
        section = section[part]
    section[path[-1]] = value

    problems = _problems(yaml.safe_dump(data).encode())

    assert all(problem.line >= 1 and problem.message for problem in problems)
    assert len({str(problem) for problem in problems}) == len(problems)


@settings(max_examples=150)
@given(at=st.integers(0, len(SHIPPED.read_text(encoding="utf-8")) - 1), junk=st.text(max_size=3))
def test_any_character_anywhere_loads_or_is_a_problem(at, junk):
    text = SHIPPED.read_text(encoding="utf-8")

    problems = _problems((text[:at] + junk + text[at + 1 :]).encode("utf-8", "surrogatepass"))

    assert all(problem.message for problem in problems)
