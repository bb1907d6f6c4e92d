"""Views for tests of policies: a fleet of one queue, `videos`, unless a test says more."""

from collections.abc import Iterable, Mapping

from policies import registry
from policies.base import Policy
from scaler.model.readings import Capacity, DepthPoint, Missing
from scaler.model.spec import Behaviour, Bounds, FleetSpec, PolicySpec
from scaler.model.state import ChangeRecord
from scaler.model.view import QueueView, View

UNKNOWN = Missing("nobody looked")


def point(at_s: float, waiting: int, *, oldest_age_s: float | Missing = UNKNOWN) -> DepthPoint:
    return DepthPoint(at_s=at_s, waiting=waiting, in_flight=UNKNOWN, oldest_age_s=oldest_age_s)


def points(waiting: Iterable[tuple[float, int]]) -> tuple[DepthPoint, ...]:
    return tuple(point(at_s, value) for at_s, value in waiting)


def queue(polls: Iterable[DepthPoint] = ()) -> QueueView:
    return QueueView(
        waiting=UNKNOWN,
        in_flight=UNKNOWN,
        delayed=UNKNOWN,
        oldest_age_s=UNKNOWN,
        points=tuple(polls),
        processing_mean_s=UNKNOWN,
        processing_p95_s=UNKNOWN,
        wait_p95_s=UNKNOWN,
        arrival_rate_per_s=UNKNOWN,
    )


def view(
    at_s: float = 0.0,
    *,
    wall_s: float | None = None,
    desired: int = 3,
    in_service: int | None = None,
    pending: int = 0,
    terminating: int = 0,
    launch_failure: str | None = None,
    settled_since_s: float | None = 0.0,
    behaviour: Behaviour | None = None,
    boot_time_s: float = 180.0,
    queues: Mapping[str, Iterable[DepthPoint]] | None = None,
    waiting: int | Missing = UNKNOWN,
    in_flight: int | Missing = UNKNOWN,
    changes: tuple[ChangeRecord, ...] = (),
) -> View:
    return View(
        at_s=at_s,
        wall_s=at_s if wall_s is None else wall_s,
        capacity=Capacity(
            desired=desired,
            in_service=desired - pending if in_service is None else in_service,
            pending=pending,
            terminating=terminating,
            launch_failure=launch_failure,
        ),
        settled_since_s=settled_since_s,
        bounds=Bounds(min=0, max=1000),
        behaviour=behaviour or Behaviour(),
        objective=None,
        boot_time_s=boot_time_s,
        queues={name: queue(polls) for name, polls in (queues or {"videos": ()}).items()},
        waiting=waiting,
        in_flight=in_flight,
        changes=changes,
    )


def change(at_s: float, before: int, after: int, *by: str) -> ChangeRecord:
    return ChangeRecord(at_s=at_s, before=before, after=after, by=by)


def built(type_: str, /, **params: object) -> Policy:
    """A policy as configuration builds it; its name is its type."""
    return registry.build(PolicySpec(name=type_, type=type_, params=params))  # type: ignore[arg-type]


def fleet(*policies: PolicySpec, **changes: object) -> FleetSpec:
    given: dict[str, object] = {
        "name": "gpu",
        "signals": ("videos",),
        "bounds": Bounds(min=2, max=10),
        "policies": policies,
        "scale_in": "unsafe_by_count",
    }
    return FleetSpec(**{**given, **changes})  # type: ignore[arg-type]
