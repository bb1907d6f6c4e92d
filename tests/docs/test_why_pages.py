"""The pages "Why did it not scale out?" and "… in?" quote sentences that the code really says.

Method: as for the guardrails: fragments from the page, situations from here, sentences compared.
"""

from collections.abc import Mapping

import pytest
from builders import capacity
from page_examples import DOCS, Situation, examples, said

from scaler.model.change import Outcome
from scaler.model.readings import Missing

OUT = (DOCS / "howto/why-did-it-not-scale-out.md").read_text()
IN = (DOCS / "howto/why-did-it-not-scale-in.md").read_text()
PLAIN_LIST = Missing("a list alone does not tell which jobs are in flight")
MINUTES = tuple((float(ago), 34) for ago in range(10, 700, 10))

SCALE_OUT: Mapping[str, Situation] = {
    "within the tolerance": Situation(current=3, waiting=12, in_flight=2),
    "threshold not reached": Situation(current=3, waiting=34, depths=MINUTES),
    "first period": Situation(current=3, waiting=90),
    "cooldown of a simple policy": Situation(
        current=4,
        waiting=120,
        depths=tuple((ago, 120) for ago, _ in MINUTES),
        changes=((240, 2, 4),),
        settled_for_s=60,
    ),
    "activity not complete": Situation(
        current=capacity(4, in_service=2, pending=2),
        waiting=120,
        depths=tuple((ago, 120) for ago, _ in MINUTES),
        changes=((120, 2, 4),),
        settled_for_s=None,
    ),
    "no reading": Situation(current=3, waiting=Missing("list videos: Redis answers WRONGTYPE")),
    "no target": Situation(
        current=Missing("there is no Auto Scaling group gpu in us-east-1"), waiting=40
    ),
    "maximum": Situation(current=10, waiting=90),
    "group maximum": Situation(current=capacity(4, target_min=1, target_max=4), waiting=45),
    "refused": Situation(
        current=3, waiting=45, outcome=Outcome(kind="refused", reason="AccessDenied: not allowed")
    ),
}
SCALE_IN: Mapping[str, Situation] = {
    "hold": Situation(current=6, waiting=0, wanted=((300, 2), (10, 2))),
    "running jobs are demand": Situation(current=6, waiting=0, in_flight=6),
    "in flight unknown": Situation(current=6, waiting=0, in_flight=PLAIN_LIST),
    "window": Situation(current=6, waiting=0, wanted=((200, 5), (10, 0))),
    "just started": Situation(current=6, waiting=0, wanted=((60, 0), (10, 0)), since_s=119_940.0),
    "no opinion": Situation(
        current=6, waiting=0, depths=((50, 8), (110, 8), (170, 3)), wanted=((300, 6), (10, 6))
    ),
    "frozen": Situation(
        current=6, waiting=Missing("Redis cannot be reached: Connection refused"), in_flight=0
    ),
    "max combines": Situation(current=6, waiting=0, wanted=((300, 6), (10, 6))),
    "refresh": Situation(
        current=capacity(6, blocked_in="an instance refresh is in progress (InProgress)"),
        waiting=0,
        wanted=((300, 0), (10, 0)),
    ),
}
PAGES = {
    **{("out", n): s for n, s in SCALE_OUT.items()},
    **{("in", n): s for n, s in SCALE_IN.items()},
}
TEXTS = {"out": OUT, "in": IN}


def test_each_page_has_exactly_these_examples():
    assert set(examples(OUT)) == set(SCALE_OUT)
    assert set(examples(IN)) == set(SCALE_IN)


@pytest.mark.parametrize(("page", "name"), PAGES)
def test_the_sentence_is_what_the_code_says(page: str, name: str):
    fragment, words = examples(TEXTS[page])[name]

    assert said(fragment, PAGES[page, name]) == words


@pytest.mark.parametrize("name", SCALE_OUT)
def test_the_scale_out_examples_do_not_scale_out(name: str):
    fragment, words = examples(OUT)[name]

    assert not words.startswith("scale out") or "refused" in words
    assert said(fragment, SCALE_OUT[name]) == words


@pytest.mark.parametrize("name", SCALE_IN)
def test_the_scale_in_examples_do_not_reach_the_minimum(name: str):
    _, words = examples(IN)[name]

    assert words.startswith(("stay at 6", "scale in 6 → 5"))
