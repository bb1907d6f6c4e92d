"""However ticks are spaced, a step policy decides the same at the same moment.

Method: one history of polls is divided among two random series of ticks, some with a restart
(state through JSON); where the series meet, the recommendations must be equal.
"""

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from policy_views import UNKNOWN, built, change, point, view

POLICY = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["simple", "step"]),
        "metric": st.sampled_from(["queue_depth", "backlog_per_worker", "oldest_age"]),
        "statistic": st.sampled_from(["average", "maximum", "minimum"]),
        "period": st.sampled_from(["7s", "10s", "60s"]),
        "scale_out": st.builds(
            lambda above, n: {"above": above, "periods": n, "steps": [{"change": 2}]},
            st.integers(0, 20),
            st.integers(1, 4),
        ),
        "scale_in": st.builds(
            lambda most, n: {"at_most": most, "periods": n, "steps": [{"change": -1}]},
            st.integers(0, 20),
            st.integers(1, 4),
        ),
    }
)
AGE = st.one_of(st.just(UNKNOWN), st.floats(0, 40))
POLLS = st.lists(
    st.tuples(st.floats(0.1, 9.0), st.booleans(), st.integers(0, 40), AGE, st.integers(0, 40), AGE),
    max_size=60,
)
TICKS = st.lists(st.floats(0.1, 400.0), max_size=30)
CHANGES = (change(60.0, 3, 5, "step"), change(150.0, 5, 4, "other"))


def history(polls):
    """Points of two queues; the second is not always seen."""
    at_s, one, two = 0.0, [], []
    for step_s, both, waiting, age, other_waiting, other_age in polls:
        at_s += step_s
        one.append(point(at_s, waiting, oldest_age_s=age))
        if both:
            two.append(point(at_s, other_waiting, oldest_age_s=other_age))
    return one, two


def run(policy, one, two, ticks, *, restarts):
    """The recommendation at each tick."""
    state, since_s, answers = None, 0.0, {}
    for at_s in ticks:
        new = {
            name: [poll for poll in polls if since_s < poll.at_s <= at_s]
            for name, polls in (("one", one), ("two", two))
        }
        past = tuple(made for made in CHANGES if made.at_s < at_s)
        seen = view(
            at_s, desired=4, queues=new, changes=past, settled_since_s=100.0 if past else 0.0
        )
        answers[at_s], state = policy.recommend(seen, state)
        if restarts:
            state = json.loads(json.dumps(state))
        since_s = at_s
    return answers


@settings(max_examples=200, deadline=None)
@given(params=POLICY, polls=POLLS, rare=TICKS, dense=TICKS, restarts=st.booleans())
def test_any_spacing_of_ticks_decides_the_same(params, polls, rare, dense, restarts):
    policy = built("step", **params)
    one, two = history(polls)
    common = sorted({*rare, 60.0, 120.0, 401.0})
    finer = sorted({*common, *dense})

    few = run(policy, one, two, common, restarts=restarts)
    many = run(policy, one, two, finer, restarts=False)

    assert [many[at_s] for at_s in common] == [few[at_s] for at_s in common]


@settings(max_examples=200, deadline=None)
@given(params=POLICY, polls=POLLS)
def test_the_periods_are_those_of_the_definition(params, polls):
    """Against the plain definition: all polls, grouped by period, one statistic each."""
    policy = built("step", **{**params, "metric": "queue_depth"})
    one, two = history(polls)
    seen_both = {poll.at_s: poll.waiting for poll in two}
    totals = [(p.at_s, p.waiting + seen_both[p.at_s]) for p in one if p.at_s in seen_both]
    period_s = float(params["period"][:-1])
    running = 401.0 // period_s
    by_period: dict[float, list[int]] = {}
    for at_s, total in totals:
        by_period.setdefault(at_s // period_s, []).append(total)
    keep = max(params["scale_out"]["periods"], params["scale_in"]["periods"])
    complete = [index for index in sorted(by_period) if running - keep <= index < running]
    statistic = {"average": lambda v: sum(v) / len(v), "maximum": max, "minimum": min}

    answer = run(policy, one, two, [401.0], restarts=False)[401.0]

    if complete:
        expected = statistic[params["statistic"]](by_period[complete[-1]])
        assert answer.inputs["queue_depth"] == expected
    else:
        assert (answer.desired, dict(answer.inputs)) == (None, {})
