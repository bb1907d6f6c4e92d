"""The model's values as JSON and back, exactly.

Format: a value is an object of its fields. `Missing` is `{"missing": reason}`. A case of `Change`
carries its `kind`. Floats are written shortest-exact (`repr`); NaN and the infinities as Python's
json writes them. Every field is written, also at its default: a default may change with a version.

Versions: fields nobody knows are ignored, absent fields take the model's defaults; so what one
version wrote, its neighbours read. A new case of a closed union is refused by an older reader.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from functools import lru_cache
from operator import attrgetter
from types import NoneType, UnionType
from typing import Final, Literal, TypeVar, Union, cast, get_args, get_origin

from scaler.model.change import EndWorkers, SetDesired, SetFloor
from scaler.model.errors import ScalerError
from scaler.model.readings import Missing
from scaler.model.spec import JsonValue

T = TypeVar("T")
_Read = Callable[[object], object]

KINDS: Final[Mapping[type, str]] = {
    SetDesired: "set_desired",
    SetFloor: "set_floor",
    EndWorkers: "end_workers",
}
"""The cases of `Change` as stored; a class may be renamed, these names may not."""


class UnreadableError(ScalerError):
    """Stored bytes that are not what they should be: damaged, or a newer version's."""


def encode(value: object) -> bytes:
    """ASCII JSON of a value of the model (any frozen dataclass of them).

    Raises: UnreadableError when something in it is not JSON-shaped.
    """
    try:
        return _ENCODER.encode(value).encode("ascii")
    except (TypeError, ValueError, RecursionError) as error:
        raise UnreadableError(
            f"{type(value).__name__} cannot be stored",
            why=str(error),
            fix="policy state and inputs must be JSON-shaped",
        ) from error


def decode(kind: type[T], text: bytes | str) -> T:
    """The value of dataclass `kind` in the text.

    Raises: UnreadableError, with the path of what is wrong.
    """
    hint: type = kind
    try:
        return cast("T", _reader(hint)(json.loads(text)))
    except _MismatchError as error:
        path = "".join((kind.__name__, *reversed(error.path)))
        raise UnreadableError(f"{path} is unreadable", why=error.why) from error
    except (ValueError, RecursionError) as error:  # no JSON, or no UTF-8
        raise UnreadableError(f"{kind.__name__} is unreadable", why=str(error)) from error


class _MismatchError(Exception):
    """A wrong shape on its way up; each level adds its part of the path."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why
        self.path: list[str] = []


@lru_cache(maxsize=256)
def _plainer(kind: type) -> Callable[[object], object] | None:
    """What makes a value of this class plain, one level down; None: nothing can."""
    if kind is Missing:
        return lambda value: {"missing": cast("Missing", value).reason}
    if is_dataclass(kind):
        names = tuple(field.name for field in fields(kind))
        tag = {"kind": KINDS[kind]} if kind in KINDS else {}
        get: Callable[[object], tuple[object, ...]] = attrgetter(*names)
        if len(names) == 1:
            return lambda value: {names[0]: get(value)} | tag
        return lambda value: dict(zip(names, get(value)), **tag)  # noqa: B905 - equal by construction
    if issubclass(kind, Mapping):
        return lambda value: dict(cast("Mapping[str, object]", value))
    return None


def _plain(value: object) -> object:
    """What json cannot write, one level down; json itself walks the rest."""
    kind: type = type(value)
    plainer = _plainer(kind)
    if plainer is None:
        raise TypeError(f"{kind.__name__} {value!r} is not JSON-shaped")
    return plainer(value)


# Values are trees by construction; without the cycle check json is a fifth faster, and a policy's
# own cycle ends in a RecursionError.
_ENCODER = json.JSONEncoder(default=_plain, separators=(",", ":"), check_circular=False)


def _wrong(expected: str, raw: object) -> _MismatchError:
    shown = repr(raw)
    return _MismatchError(f"expected {expected}, got {shown if len(shown) <= 60 else shown[:57]}…")


@lru_cache(maxsize=512)
def _reader(hint: object) -> _Read:
    """The reader of one type; made once per type. What it accepts is what mypy accepts."""
    if hint is JsonValue:
        return lambda raw: raw
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        return _union_reader(get_args(hint))
    if isinstance(origin, type):
        return _generic_reader(origin, get_args(hint))
    if origin is Literal:
        return _literal_reader(get_args(hint))
    if hint is Missing or hint in _SCALARS:
        return _union_reader((hint,))
    if isinstance(hint, type) and is_dataclass(hint):
        return _object_reader(hint, {})
    raise TypeError(f"the codec knows no {hint!r}")


def _generic_reader(origin: type, args: tuple[object, ...]) -> _Read:
    if origin is tuple:
        return _tuple_reader(args[0])
    if issubclass(origin, Mapping):
        return _mapping_reader(args[1])
    if is_dataclass(origin):
        parameters = cast("tuple[object, ...]", getattr(origin, "__parameters__", ()))
        return _object_reader(origin, dict(zip(parameters, args, strict=True)))
    raise TypeError(f"the codec knows no {origin!r}")


def _literal_reader(allowed: tuple[object, ...]) -> _Read:
    def read(raw: object) -> object:
        if raw not in allowed:
            raise _wrong("one of " + ", ".join(map(str, allowed)), raw)
        return raw

    return read


def _tuple_reader(hint: object) -> _Read:
    item = _reader(hint)

    def read(raw: object) -> object:
        if not isinstance(raw, list):
            raise _wrong("a list", raw)
        out = []
        try:
            for value in raw:
                out.append(item(value))  # noqa: PERF401 - its length is the index of a failure
        except _MismatchError as error:
            error.path.append(f"[{len(out)}]")
            raise
        return tuple(out)

    return read


def _mapping_reader(hint: object) -> _Read:
    item = _reader(hint)

    def read(raw: object) -> object:
        if not isinstance(raw, dict):
            raise _wrong("an object", raw)
        out: dict[str, object] = {}
        for key, value in raw.items():
            try:
                out[key] = item(value)
            except _MismatchError as error:
                error.path.append(f"[{key!r}]")
                raise
        return out

    return read


def _union_reader(arms: tuple[object, ...]) -> _Read:
    """Arms differ by JSON type; objects by `missing` or `kind`; at most one bare dataclass."""
    scalars = tuple(arm for arm in arms if isinstance(arm, type) and arm in _SCALARS)
    accepted = tuple({kind for scalar in scalars for kind in _SCALARS[scalar]})
    tagged = {KINDS[arm]: _reader(arm) for arm in arms if isinstance(arm, type) and arm in KINDS}
    bare = [arm for arm in arms if arm not in scalars and arm is not Missing and arm not in KINDS]
    if len(bare) > 1:
        raise TypeError(f"the codec cannot tell the cases of {arms!r} apart")
    other = _reader(bare[0]) if bare else None
    expected = " or ".join(getattr(arm, "__name__", str(arm)) for arm in arms)

    def read(raw: object) -> object:
        if isinstance(raw, accepted):
            return raw
        if isinstance(raw, dict):
            if Missing in arms and isinstance(raw.get("missing"), str):
                return Missing(raw["missing"])
            if raw.get("kind") in tagged:
                return tagged[raw["kind"]](raw)
        if other is not None:
            return other(raw)
        raise _wrong(expected, raw)

    return read


_SCALARS: Final[Mapping[type, tuple[type, ...]]] = {
    bool: (bool,),
    int: (int,),
    float: (float, int),
    str: (str,),
    NoneType: (NoneType,),
}


@dataclass(frozen=True, slots=True)
class _FieldReader:
    name: str
    read: _Read
    required: bool


def _field_reader(field: "Field[object]", bound: Mapping[object, object]) -> _FieldReader:
    hint: object = field.type
    if bound:  # Reading[QueueSample]: its `T | Missing` becomes `QueueSample | Missing`
        arms = tuple(bound.get(arm, arm) for arm in get_args(hint) or (hint,))
        read = _union_reader(arms)
    else:
        read = _reader(hint)
    required = field.default is MISSING and field.default_factory is MISSING
    return _FieldReader(field.name, read, required)


def _object_reader(kind: type, bound: Mapping[object, object]) -> _Read:
    parts = tuple(_field_reader(field, bound) for field in fields(kind))

    def read(raw: object) -> object:
        if not isinstance(raw, dict):
            raise _wrong(kind.__name__, raw)
        values: dict[str, object] = {}
        for part in parts:
            try:
                if part.name in raw:
                    values[part.name] = part.read(raw[part.name])
                elif part.required:
                    raise _MismatchError("it is absent")
            except _MismatchError as error:
                error.path.append(f".{part.name}")
                raise
        return kind(**values)

    return read
