"""What the model names is met by a test: every guardrail and every outcome.

Method: the names are read from the model itself and searched, quoted, in the tests.
"""

from typing import get_args

import pytest
from repository import ROOT, files

from scaler.model.change import OutcomeKind
from scaler.model.decision import Guardrail


@pytest.mark.parametrize("name", [*get_args(Guardrail), *get_args(OutcomeKind)])
def test_every_guardrail_and_outcome_occurs_in_a_test(name: str):
    tests = [path for path in files() if path.match("tests/**/test_*.py")]

    found = [
        path.relative_to(ROOT)
        for path in tests
        if path.parent.name != "meta" and f'"{name}"' in path.read_text()
    ]

    assert found, f"no test mentions {name}"


def test_there_are_names_to_look_for():
    assert len(get_args(Guardrail)) > 5
    assert len(get_args(OutcomeKind)) > 3
