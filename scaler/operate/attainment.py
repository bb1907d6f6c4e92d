"""How well a fleet keeps its promise: the share of jobs that started in time."""

from collections.abc import Iterable

from metrics.sketch import Sketch
from scaler.model.objective import Objective
from scaler.model.readings import Missing


def attainment(objective: Objective | None, waits: Iterable[Sketch | Missing]) -> float | Missing:
    """0–1, over all queues of the fleet together; `Missing` where it cannot be told.

    Args: waits, one sketch of seconds from arrival to start per queue. Jobs that still wait are
    not in it: during an outage of the workers it tells of the jobs before.
    """
    if objective is None:
        return Missing("the fleet has no objective")
    together = Sketch()
    for sketch in waits:
        if isinstance(sketch, Missing):
            return sketch
        together.merge(sketch)
    share = together.share_at_most(objective.wait_s)
    return Missing("no job was reported with its arrival") if share is None else share
