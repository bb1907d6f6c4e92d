"""Several recommendations become one wish."""

from collections.abc import Sequence
from typing import assert_never

from scaler.model.decision import Recommendation
from scaler.model.spec import Bounds, Combine


def combine(
    recommendations: Sequence[Recommendation], how: Combine
) -> tuple[int | None, tuple[str, ...]]:
    """The wish (None: nobody has an opinion) and the names of the policies that hold it.

    `max`: the largest, the safe default, as AWS does with several policies on one group.
    `min`: the smallest. `first`: that of the first policy in configured order with an opinion.
    """
    opinions = [(r.desired, r.policy) for r in recommendations if r.desired is not None]
    if not opinions:
        return None, ()
    match how:
        case "max":
            wish = max(desired for desired, _ in opinions)
        case "min":
            wish = min(desired for desired, _ in opinions)
        case "first":
            return opinions[0][0], (opinions[0][1],)
        case _:
            assert_never(how)
    return wish, tuple(policy for desired, policy in opinions if desired == wish)


def effective_bounds(bounds: Bounds, recommendations: Sequence[Recommendation]) -> Bounds:
    """The fleet's bounds under the policies' overrides, which only ever narrow them.

    Where overrides contradict one another the higher minimum wins: waiting jobs cost more than
    an idle worker.
    """
    low, high = bounds.min, bounds.max
    for recommendation in recommendations:
        if recommendation.min is not None:
            low = max(low, min(recommendation.min, bounds.max))
        if recommendation.max is not None:
            high = min(high, max(recommendation.max, bounds.min))
    return Bounds(min=low, max=max(low, high))
