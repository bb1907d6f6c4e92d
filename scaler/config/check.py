"""What spans several fields: errors that no single section can see, and warnings.

Errors are looked for in the data as read, section by section, so that one that is broken hides
nothing in another. Warnings need a configuration that is right.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import ValidationError

from policies import registry
from policies.base import Policy
from scaler.config.findings import Guide, findings, instead
from scaler.config.report import KeyPath, Problem, path_text
from scaler.config.schema import Config, Loop
from scaler.config.specs import build_policies, fleet_specs
from scaler.model.spec import FleetSpec, JsonValue
from scaler.model.units import format_duration

_ALARM_PERIOD_S = 60.0
"""Shortest period of an alarm on a metric of standard resolution (CloudWatch User Guide)."""
_POLLS_UNTIL_STALE = 3


def errors(guide: Guide) -> Iterator[Problem]:
    """What is wrong beyond single fields."""
    yield from _shared_targets(guide)
    for name, fleet in _entries(guide.value(("fleets",))):
        path: KeyPath = ("fleets", name)
        yield from _signals(fleet, path, guide)
        yield from _scale_in(fleet, path, guide)
        yield from _fallback(fleet, path, guide)
        yield from _policies(fleet, path, guide)


def warnings(config: Config, guide: Guide) -> Iterator[Problem]:
    """What is legal but hurts."""
    loop, publish = config.loop, config.publish
    if publish.cloudwatch and publish.interval_s > _ALARM_PERIOD_S:
        yield guide.problem(
            ("publish", "interval"),
            "an alarm with a period of 60s finds periods without data",
            right="write 60s or less",
        )
    if loop.stale_after_s < _POLLS_UNTIL_STALE * loop.poll_s:
        yield _stale(("loop", "stale_after"), loop, guide)
    for spec in fleet_specs(config):
        own = config.fleets[spec.name].stale_after_s
        if own is not None and own < _POLLS_UNTIL_STALE * loop.poll_s:
            yield _stale(("fleets", spec.name, "stale_after"), loop, guide)
        yield from _slow_boot(spec, guide)
        yield from _hints(spec, guide)


def _stale(path: KeyPath, loop: Loop, guide: Guide) -> Problem:
    if path not in guide.tree.values:  # the default holds, so the pace of polls is what is written
        return guide.problem(
            ("loop", "poll"),
            f"{_POLLS_UNTIL_STALE} polls take longer than stale_after, which is "
            f"{format_duration(loop.stale_after_s)}: one late answer freezes scale-in",
            right="poll faster, or raise stale_after",
        )
    return guide.problem(
        path,
        f"is shorter than {_POLLS_UNTIL_STALE} polls: one late answer freezes scale-in",
        right=f"write {format_duration(_POLLS_UNTIL_STALE * loop.poll_s)} or more, or poll faster",
    )


def _slow_boot(spec: FleetSpec, guide: Guide) -> Iterator[Problem]:
    """A cooldown that ends before the workers it waits for can take a job."""
    boot = format_duration(spec.boot_time_s)
    path: KeyPath = ("fleets", spec.name, "behaviour")
    message = f"is shorter than boot_time, which is {boot}: workers still boot when it ends"
    behaviour = spec.behaviour
    if 0 < behaviour.cooldown_out_s < spec.boot_time_s:
        yield guide.problem((*path, "cooldown", "out"), message, right=f"write {boot} or more")
    simple = any(
        policy.type == "step" and policy.params.get("kind") == "simple" for policy in spec.policies
    )
    if simple and behaviour.default_cooldown_s < spec.boot_time_s:
        yield guide.problem((*path, "default_cooldown"), message, right=f"write {boot} or more")


def _hints(spec: FleetSpec, guide: Guide) -> Iterator[Problem]:
    for index, policy in enumerate(build_policies(spec)):
        for hint in policy.hints(spec):
            path = ("fleets", spec.name, "policies", index, *hint.path)
            message, _, right = hint.message.partition("; ")
            yield guide.problem(path, message, right=right)


def _shared_targets(guide: Guide) -> Iterator[Problem]:
    """Two fleets that write to one target undo each other's work. A dry run writes nothing, so it
    may look at another fleet's target: that is how a policy is tried beside the one that acts."""
    owners: dict[tuple[str, ...], str] = {}
    for name, fleet in _entries(guide.value(("fleets",))):
        if fleet.get("dry_run") is True:
            continue
        for _, target in _entries({"target": fleet.get("target")}):
            parts = {"asg": ("type", "name"), "ecs": ("type", "cluster", "service")}
            keys = parts.get(str(target.get("type")), ())
            identity = tuple(str(target[key]) for key in keys if key in target)
            if not keys or len(identity) < len(keys):
                continue
            owner = owners.setdefault(identity, name)
            if owner != name:
                yield guide.problem(
                    ("fleets", name, "target", keys[-1]),
                    f"is the target of fleet {owner} already",
                    right="give each fleet a target of its own, or one fleet both policies",
                )


def _signals(fleet: dict[str, JsonValue], path: KeyPath, guide: Guide) -> Iterator[Problem]:
    queues = guide.value(("queues",))
    names = list(queues) if isinstance(queues, dict) else []
    signals = fleet.get("signals")
    if not isinstance(signals, list):
        return
    for index, signal in enumerate(signals):
        at = (*path, "signals", index)
        if not isinstance(signal, str):
            continue
        if signal in signals[:index]:
            yield guide.problem(at, "is there already", right="name each queue once")
        elif signal not in names and guide.tree.whole:
            yield guide.problem(
                at, "is no queue of this configuration", right=instead(signal, names)
            )


def _scale_in(fleet: dict[str, JsonValue], path: KeyPath, guide: Guide) -> Iterator[Problem]:
    target = fleet.get("target")
    kind = target.get("type") if isinstance(target, dict) else None
    if fleet.get("scale_in") == "deregister" and kind == "asg":
        yield guide.problem(
            (*path, "scale_in"),
            "is for services behind a load balancer, and this target is an Auto Scaling group",
            right="write hold, or unsafe_by_count if a job may be cut off",
        )


def _fallback(fleet: dict[str, JsonValue], path: KeyPath, guide: Guide) -> Iterator[Problem]:
    capacity = guide.value((*path, "fallback", "capacity"))
    most = guide.value((*path, "bounds", "max"))
    if isinstance(capacity, int) and isinstance(most, int) and capacity > most:
        yield guide.problem(
            (*path, "fallback", "capacity"),
            f"must be at most bounds.max, which is {most}",
            right=f"write {most} or less, or raise bounds.max",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """One policy as it is written."""

    path: KeyPath
    kind: str
    name: str
    params: dict[str, JsonValue]


def _policies(fleet: dict[str, JsonValue], path: KeyPath, guide: Guide) -> Iterator[Problem]:
    signals = fleet.get("signals")
    names: dict[str, KeyPath] = {}
    for entry in _written_policies(fleet, path):
        first = names.setdefault(entry.name, entry.path)
        if first != entry.path:
            key = "name" if guide.value((*entry.path, "name")) else "type"
            yield guide.problem(
                (*entry.path, key),
                f"{path_text(first[2:])} has the name {entry.name} already",
                right=f"add a name of its own, like name: {entry.name}-2",
            )
        built = _built(entry, guide)
        if isinstance(built, list):
            yield from built
        elif isinstance(signals, list):
            for signal in built.signals:
                if signal not in signals:
                    yield guide.problem(
                        _place_of(signal, entry),
                        "is no signal of this fleet",
                        right=instead(signal, [str(known) for known in signals]),
                    )


def _written_policies(fleet: dict[str, JsonValue], path: KeyPath) -> Iterator[_Entry]:
    written = fleet.get("policies")
    for index, policy in enumerate(written if isinstance(written, list) else []):
        if not isinstance(policy, dict) or not isinstance(policy.get("type"), str):
            continue
        kind, name = str(policy["type"]), policy.get("name")
        yield _Entry(
            path=(*path, "policies", index),
            kind=kind,
            name=name if isinstance(name, str) else kind,
            params={key: value for key, value in policy.items() if key not in ("type", "name")},
        )


def _built(entry: _Entry, guide: Guide) -> Policy | list[Problem]:
    """The policy, or what its own model refuses."""
    policy = registry.available().get(entry.kind)
    if policy is None:
        return [_unknown_policy(entry, guide)]
    try:
        return policy.build(entry.name, policy.Params.model_validate(entry.params))
    except ValidationError as error:
        return findings(error, guide, below=entry.path)


def _unknown_policy(entry: _Entry, guide: Guide) -> Problem:
    reason = registry.broken().get(entry.kind)
    if reason is not None:
        return guide.problem(
            (*entry.path, "type"),
            f"is installed but does not work: {reason}",
            right="repair or remove the package that brings it",
        )
    return guide.problem(
        (*entry.path, "type"),
        "is no installed policy",
        right=instead(entry.kind, list(registry.available())),
    )


def _place_of(text: str, entry: _Entry) -> KeyPath:
    """Where a policy's parameters name `text`; the policy itself, when they do not."""

    def found(value: JsonValue, path: KeyPath) -> KeyPath | None:
        if value == text:
            return path
        parts = value.items() if isinstance(value, dict) else ()
        items = enumerate(value) if isinstance(value, list) else ()
        for key, part in (*parts, *items):
            place = found(part, (*path, key))
            if place is not None:
                return place
        return None

    return found(entry.params, entry.path) or entry.path


def _entries(section: JsonValue) -> Iterator[tuple[str, dict[str, JsonValue]]]:
    """The maps of a section by name; what is no map is another check's affair."""
    for name, entry in section.items() if isinstance(section, dict) else ():
        if isinstance(entry, dict):
            yield name, entry
