"""Typed access to a decoded request: what is missing or of the wrong type becomes AWS's error."""

from collections.abc import Mapping

from scaler.lab.errors import AwsError


class Params:
    """One structure of a request. `missing_code` is how this service says "required"."""

    def __init__(self, values: Mapping[str, object], *, missing_code: str) -> None:
        self.values = values
        self._missing_code = missing_code

    def __contains__(self, name: str) -> bool:
        return self.values.get(name) is not None

    def text(self, name: str) -> str | None:
        value = self.values.get(name)
        if value is None or isinstance(value, str):
            return value
        raise self._wrong_type(name)

    def number(self, name: str) -> float | None:
        """A number; JSON spells what it cannot write as "NaN", "Infinity" and "-Infinity"."""
        value = self.values.get(name)
        return None if value is None else self._as_number(name, value)

    def integer(self, name: str) -> int | None:
        value = self.values.get(name)
        if value is None or (isinstance(value, int) and not isinstance(value, bool)):
            return value
        if isinstance(value, float) and value.is_integer():
            return int(value)
        raise self._wrong_type(name)

    def flag(self, name: str) -> bool:
        value = self.values.get(name)
        if value is None or isinstance(value, bool):
            return bool(value)
        raise self._wrong_type(name)

    def texts(self, name: str) -> tuple[str, ...]:
        return tuple(self._as_text(name, item) for item in self._list(name))

    def numbers(self, name: str) -> tuple[float, ...]:
        return tuple(self._as_number(name, item) for item in self._list(name))

    def items(self, name: str) -> "tuple[Params, ...]":
        return tuple(self._as_params(name, item) for item in self._list(name))

    def group(self, name: str) -> "Params | None":
        value = self.values.get(name)
        return None if value is None else self._as_params(name, value)

    def need_text(self, name: str) -> str:
        value = self.text(name)
        if value is None or value == "":
            raise self._missing(name)
        return value

    def need_number(self, name: str) -> float:
        value = self.number(name)
        if value is None:
            raise self._missing(name)
        return value

    def need_integer(self, name: str) -> int:
        value = self.integer(name)
        if value is None:
            raise self._missing(name)
        return value

    def _list(self, name: str) -> list[object]:
        value = self.values.get(name)
        if value is None:
            return []
        if isinstance(value, list):
            return value
        raise self._wrong_type(name)

    def _as_text(self, name: str, value: object) -> str:
        if isinstance(value, str):
            return value
        raise self._wrong_type(name)

    def _as_number(self, name: str, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise self._wrong_type(name)
        try:
            return float(value)
        except (ValueError, OverflowError):
            raise self._wrong_type(name) from None

    def _as_params(self, name: str, value: object) -> "Params":
        if isinstance(value, Mapping):
            return Params(value, missing_code=self._missing_code)
        raise self._wrong_type(name)

    def _wrong_type(self, name: str) -> AwsError:
        return AwsError("SerializationException", f"The value of {name} has the wrong type.")

    def _missing(self, name: str) -> AwsError:
        return AwsError(self._missing_code, f"The parameter {name} is required.")
