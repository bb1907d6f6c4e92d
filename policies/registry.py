"""Policies by name: what is installed, and a policy built from its configuration.

A policy joins by an entry point of the group `ascension_scaler.policies`; nothing registers
itself by being imported. One that does not load is reported by its name and breaks no other.
"""

import difflib
import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import cast

from policies.base import Policy, PolicyParams
from scaler.model.errors import ConfigError
from scaler.model.spec import PolicySpec

GROUP = "ascension_scaler.policies"
_OWN_DISTRIBUTION = "ascension-scaler"


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """What a set of entry points amounts to.

    Attributes:
        policies: classes by the name that configuration uses, in the order of their names.
        broken: entry points that give no policy, by name, and why.
    """

    policies: Mapping[str, type[Policy]]
    broken: Mapping[str, str]


def available() -> Mapping[str, type[Policy]]:
    """The installed policies by name. Looked up once per process."""
    return _installed().policies


def broken() -> Mapping[str, str]:
    """Installed entry points that give no policy, by name, and why."""
    return _installed().broken


def build(spec: PolicySpec) -> Policy:
    """The policy that `spec` describes.

    Raises:
        ConfigError: no such type, or one that does not load.
        pydantic.ValidationError: parameters that the policy's own model refuses.
    """
    return build_from(_installed(), spec)


def build_from(installed: Installed, spec: PolicySpec) -> Policy:
    """`build`, from a given set of policies."""
    policy = installed.policies.get(spec.type)
    if policy is None:
        raise _unknown_type(installed, spec.type)
    return policy.build(spec.name, policy.Params.model_validate(dict(spec.params)))


def discover(points: Iterable[EntryPoint]) -> Installed:
    """Load entry points. A name taken twice stays with this distribution, else with the first
    distribution by name; the other is reported."""
    policies: dict[str, type[Policy]] = {}
    failed: dict[str, str] = {}
    origins: dict[str, str] = {}
    for point in sorted(points, key=_precedence):
        if point.name in origins:
            if origins[point.name] != point.value:
                label = f"{point.name} ({_distribution(point)})"
                failed[label] = f"the name is taken by {origins[point.name]}"
            continue
        origins[point.name] = point.value
        loaded = _load(point)
        if isinstance(loaded, str):
            failed[point.name] = loaded
        else:
            policies[point.name] = loaded
    return Installed(
        policies=MappingProxyType(dict(sorted(policies.items()))),
        broken=MappingProxyType(failed),
    )


@cache
def _installed() -> Installed:
    return discover(entry_points(group=GROUP))


def _precedence(point: EntryPoint) -> tuple[str, bool, str, str]:
    distribution = _distribution(point)
    return point.name, distribution != _OWN_DISTRIBUTION, distribution, point.value


def _distribution(point: EntryPoint) -> str:
    return "unknown" if point.dist is None else point.dist.name


def _load(point: EntryPoint) -> type[Policy] | str:
    """The class behind an entry point, or why there is none."""
    try:
        loaded: object = point.load()
    except Exception as error:  # noqa: BLE001 - somebody else's module may raise anything
        return f"{point.value} does not load: {type(error).__name__}: {error}"
    if not inspect.isclass(loaded):
        return f"{point.value} is no class"
    params: object = getattr(loaded, "Params", None)
    if not (inspect.isclass(params) and issubclass(params, PolicyParams)):
        return f"{point.value} has no Params derived from policies.base.PolicyParams"
    lacking = [
        name for name in ("build", "signals", "hints", "recommend") if not _has(loaded, name)
    ]
    if lacking:
        return f"{point.value} lacks {', '.join(lacking)}"
    return cast(type[Policy], loaded)


def _has(loaded: type, name: str) -> bool:
    return getattr(loaded, name, None) is not None


def _unknown_type(installed: Installed, name: str) -> ConfigError:
    if name in installed.broken:
        return ConfigError(
            f"policy type {name!r} is installed but gives no policy",
            why=installed.broken[name],
            fix="repair or remove the package that brings it",
        )
    close = difflib.get_close_matches(name, installed.policies, n=1)
    meant = f"did you mean {close[0]!r}? " if close else ""
    return ConfigError(
        f"there is no policy type {name!r}",
        why=f"installed are {', '.join(installed.policies) or 'none'}",
        fix=f"{meant}use an installed type, or install the package that brings it",
    )
