"""The page of guardrails says what the code does: each guardrail, its configuration, its words.

Method: the page's configuration fragments go through the real configuration, the situations stand
in a table here, and `decide()` has to produce the very sentences that the page shows. The formulas
of the page are checked at their edges by tests/decide/test_guardrails.py.
"""

import re
from collections.abc import Mapping
from typing import get_args

import pytest
from builders import capacity
from page_examples import AT_S, DOCS, Situation, decided, examples, fleet, said

from scaler.decide.guardrails import _ORDER
from scaler.model.decision import Guardrail
from scaler.model.readings import Missing

PAGE = (DOCS / "reference/guardrails.md").read_text()
GONE = Missing("Redis cannot be reached: Connection refused")
DENIED = Missing("list videos: Redis answers NOPERM this user has no permission for llen")

EXAMPLES: Mapping[str, Situation] = {
    "bounds": Situation(current=6, waiting=70),
    "bounds, a fleet above its maximum": Situation(
        current=12, waiting=70, wanted=((300, 10), (10, 10))
    ),
    "freeze": Situation(current=3, waiting=GONE, wanted=((300, 2), (10, 2))),
    "fallback": Situation(current=2, waiting=DENIED, missing_for_s=150),
    "activation": Situation(current=2, waiting=15),
    "stabilization_window": Situation(current=8, waiting=10, wanted=((240, 7), (10, 2))),
    "stabilization_window, a short memory": Situation(
        current=8, waiting=10, wanted=((60, 2), (10, 2)), since_s=AT_S - 60
    ),
    "rate_limit": Situation(current=5, waiting=50, changes=((20, 2, 5),)),
    "cooldown": Situation(current=4, waiting=40, changes=((100, 2, 4),)),
    "disable_scale_in": Situation(current=6, waiting=10, wanted=((300, 2), (10, 2))),
    "scale_in": Situation(current=6, waiting=10, wanted=((300, 2), (10, 2))),
    "target_limits": Situation(current=capacity(3, target_min=1, target_max=6), waiting=45),
    "target_blocked": Situation(
        current=capacity(
            3, blocked_out="the group's Launch process is suspended (AZ outage drill)"
        ),
        waiting=45,
    ),
}


def sections() -> dict[str, str]:
    """The page's text by guardrail."""
    parts = re.split(r"^## `(\w+)`$", PAGE.partition("<!-- sections -->")[2], flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_guardrail_has_its_section_and_an_example_and_no_other_has():
    names = set(get_args(Guardrail))

    assert set(sections()) == names
    assert {name.partition(",")[0] for name in examples(PAGE)} == names
    assert set(examples(PAGE)) == set(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_example_sentence_is_what_decide_says(name: str):
    fragment, words = examples(PAGE)[name]

    assert said(fragment, EXAMPLES[name]) == words
    effects = decided(fleet(fragment), EXAMPLES[name]).effects
    assert name.partition(",")[0] in [effect.guardrail for effect in effects]


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_example_stands_in_its_own_section(name: str):
    assert f"<!-- example: {name} -->" in sections()[name.partition(",")[0]]


def test_the_order_on_the_page_is_the_order_of_the_code():
    table = PAGE.partition("<!-- order -->")[2].partition("<!-- sections -->")[0]
    listed = re.findall(r"^\| \d+ \| \[`(\w+)`\]", table, re.MULTILINE)
    functions = {"within_bounds": "bounds", "stabilization": "stabilization_window"}

    assert listed == [functions.get(each.__name__, each.__name__) for each in _ORDER]
