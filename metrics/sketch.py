"""A mergeable quantile sketch with 1 % relative accuracy: which values, how many of each.

Source: Masson, Rim, Lee, "DDSketch: a fast and fully-mergeable quantile sketch with
relative-error guarantees", PVLDB 12(12), 2019. A value x > 0 falls into bin ceil(log_γ x) with
γ = (1 + α) ÷ (1 - α); the bin answers with 2γ^i ÷ (γ + 1), which is within α of all its values.

It is our own, in place of a package, for two reasons: a GPU worker may import the standard library
and redis only, and the bins themselves leave the process: they are saved beside the report cursor
and published as CloudWatch's `Values`/`Counts`.
"""

import math
from collections.abc import Mapping
from typing import Final

RELATIVE_ACCURACY: Final = 0.01
MAX_BINS: Final = 2048
"""Enough for largest ÷ smallest = 10^17; beyond that the lowest bins collapse into one."""

MIN_POSITIVE: Final = 1e-9
"""Smaller values count as zero: a nanosecond, where values are seconds."""

MAX_VALUE: Final = 1e15
"""Larger values are refused; sums of them would leave the range of exact arithmetic."""

_GAMMA: Final = (1 + RELATIVE_ACCURACY) / (1 - RELATIVE_ACCURACY)
_BINS_PER_NAT: Final = 1 / math.log(_GAMMA)
_INDEX_LIMIT: Final = math.ceil(math.log(MAX_VALUE) * _BINS_PER_NAT) + 1


class Sketch:
    """Values ≥ 0 as counts in logarithmic bins; count, sum, smallest and largest are kept apart.

    Merging is commutative and associative (the sum up to the rounding of float addition), so
    sketches of workers, minutes and queues add up in any order.

    Attributes (change them by `add` and `merge` only):
        count: how many values were added; sum: their sum, 0.0 of an empty sketch.
        zeros: how many of them count as zero.
        tallies: count by bin index, for the others.
    """

    __slots__ = ("_max_bins", "count", "highest", "lowest", "sum", "tallies", "zeros")

    def __init__(self, *, max_bins: int = MAX_BINS) -> None:
        if max_bins < 1:
            raise ValueError(f"max_bins is {max_bins}; a sketch needs at least one bin")
        self._max_bins = max_bins
        self.tallies: dict[int, int] = {}
        self.zeros = 0
        self.count = 0
        self.sum = 0.0
        self.lowest = math.inf
        self.highest = -math.inf

    @property
    def min(self) -> float | None:
        """The smallest value, exactly; None of an empty sketch."""
        return self.lowest if self.count else None

    @property
    def max(self) -> float | None:
        """The largest value, exactly; None of an empty sketch."""
        return self.highest if self.count else None

    @property
    def mean(self) -> float | None:
        """Sum ÷ count; None of an empty sketch."""
        return self.sum / self.count if self.count else None

    def add(self, value: float, count: int = 1) -> None:
        """Add `value` ≥ 0, `count` ≥ 1 times.

        Raises: ValueError when the value is negative, NaN or above `MAX_VALUE`, or the count
        below one.
        """
        if not 0.0 <= value <= MAX_VALUE or count < 1:
            raise ValueError(f"cannot add {value!r} × {count}; give 0 ≤ value ≤ 1e15, count ≥ 1")
        if value < MIN_POSITIVE:
            self.zeros += count
        else:
            index = math.ceil(math.log(value) * _BINS_PER_NAT)
            self.tallies[index] = self.tallies.get(index, 0) + count
            if len(self.tallies) > self._max_bins:
                self._collapse_lowest()
        self.count += count
        self.sum += value * count
        self.lowest = min(self.lowest, value)
        self.highest = max(self.highest, value)

    def merge(self, other: "Sketch") -> None:
        """Add all values of `other`, which stays as it is."""
        for index, count in list(other.tallies.items()):
            self.tallies[index] = self.tallies.get(index, 0) + count
        if len(self.tallies) > self._max_bins:
            self._collapse_lowest()
        self.zeros += other.zeros
        self.count += other.count
        self.sum += other.sum
        self.lowest = min(self.lowest, other.lowest)
        self.highest = max(self.highest, other.highest)

    def copy(self) -> "Sketch":
        """A sketch of the same values that changes no more with this one."""
        twin = Sketch(max_bins=self._max_bins)
        twin.merge(self)
        return twin

    def quantile(self, q: float) -> float | None:
        """The value below which the share `q` (0–1) lies; None of an empty sketch.

        It is within 1 % of the order statistic of rank floor(q × (count - 1)), counted from zero,
        unless that value lies in the collapsed lowest bin.
        Raises: ValueError when q is outside 0–1.
        """
        if not 0.0 <= q <= 1.0:
            raise ValueError(f"quantile {q!r} does not exist; give a share between 0 and 1")
        if self.count == 0:
            return None
        rank = math.floor(q * (self.count - 1))
        seen = 0
        for value, count in self.bins():
            seen += count
            if seen > rank:
                return value
        return self.highest

    def share_at_most(self, value: float) -> float | None:
        """The share (0–1) of values up to `value`, exact but for those within 1 % of it; None of an
        empty sketch."""
        if self.count == 0:
            return None
        return sum(count for seen, count in self.bins() if seen <= value) / self.count

    def bins(self) -> tuple[tuple[float, int], ...]:
        """(value, count) of each bin by rising value; a value is within 1 % of all it stands for
        and never outside the smallest and largest value that was added."""
        found = [(self._clamped(0.0), self.zeros)] if self.zeros else []
        found += [(self._clamped(_bin_value(i)), self.tallies[i]) for i in sorted(self.tallies)]
        return tuple(found)

    def bins_since(self, older: "Sketch") -> tuple[tuple[float, int], ...]:
        """What was added since `older`, a copy of this sketch: (value, count), lowest first."""
        found = [(0.0, self.zeros - older.zeros)] if self.zeros > older.zeros else []
        for index in sorted(self.tallies):
            more = self.tallies[index] - older.tallies.get(index, 0)
            if more > 0:
                found.append((_bin_value(index), more))
        return tuple(found)

    def to_json(self) -> dict[str, object]:
        """JSON-shaped, for `from_json`; bins are a flat list: first index, count, step to the next
        index, count, … (small steps compress well)."""
        flat: list[int] = []
        before = 0
        for index in sorted(self.tallies):
            flat += (index - before, self.tallies[index])
            before = index
        saved: dict[str, object] = {"count": self.count, "zeros": self.zeros, "bins": flat}
        if self.count:
            saved |= {"sum": self.sum, "min": self.lowest, "max": self.highest}
        return saved

    @classmethod
    def from_json(cls, saved: object, *, max_bins: int = MAX_BINS) -> "Sketch":
        """The sketch that `to_json` was called on.

        Raises: ValueError when this is no saved sketch, or its counts do not add up.
        """
        if not isinstance(saved, Mapping):
            raise ValueError("a saved sketch is an object")
        sketch = cls(max_bins=max_bins)
        sketch._restore_bins(saved.get("bins"))
        sketch.zeros = _whole(saved.get("zeros"))
        sketch.count = _whole(saved.get("count"))
        if sketch.count != sketch.zeros + sum(sketch.tallies.values()):
            raise ValueError("a saved sketch's count is not the sum of its bins")
        if sketch.count:
            sketch.sum = _real(saved.get("sum"))
            sketch.lowest = _real(saved.get("min"))
            sketch.highest = _real(saved.get("max"))
            if sketch.lowest > sketch.highest:
                raise ValueError("a saved sketch's smallest value is above its largest")
        if len(sketch.tallies) > max_bins:
            sketch._collapse_lowest()
        return sketch

    def __eq__(self, other: object) -> bool:
        """The same values, as far as the bins tell; sums may differ by rounding."""
        if not isinstance(other, Sketch):
            return NotImplemented
        return (
            self.tallies == other.tallies
            and (self.zeros, self.lowest, self.highest)
            == (other.zeros, other.lowest, other.highest)
            and math.isclose(self.sum, other.sum, rel_tol=1e-9)
        )

    __hash__ = None  # type: ignore[assignment]  # a sketch changes; typeshed wants a method here

    def __repr__(self) -> str:
        if not self.count:
            return "Sketch(empty)"
        return f"Sketch(count={self.count}, min={self.lowest:g}, max={self.highest:g})"

    def _restore_bins(self, flat: object) -> None:
        if not isinstance(flat, list) or len(flat) % 2:
            raise ValueError("a saved sketch's bins are a list of steps and counts")
        index = 0
        for position, (step, count) in enumerate(zip(flat[::2], flat[1::2], strict=True)):
            if type(step) is not int or (position > 0 and step < 1) or _whole(count) < 1:
                raise ValueError("a saved sketch's bins are rising, with counts of at least one")
            index += step
            if abs(index) > _INDEX_LIMIT:
                raise ValueError("a saved sketch's bin is outside the range of numbers")
            self.tallies[index] = count

    def _collapse_lowest(self) -> None:
        by_index = sorted(self.tallies)
        keep = by_index[-self._max_bins]
        for index in by_index[: -self._max_bins]:
            self.tallies[keep] += self.tallies.pop(index)

    def _clamped(self, value: float) -> float:
        return min(max(value, self.lowest), self.highest)


def _bin_value(index: int) -> float:
    return 2.0 * math.exp(index / _BINS_PER_NAT) / (_GAMMA + 1.0)


def _whole(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is not a count")
    return value


def _real(value: object) -> float:
    if type(value) not in (int, float) or not 0.0 <= value < math.inf:  # type: ignore[operator]  # it is a number
        raise ValueError(f"{value!r} is not a finite value ≥ 0")
    return float(value)  # type: ignore[arg-type]  # checked one line above
