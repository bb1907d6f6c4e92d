"""The Prometheus page: what the catalog names, filled by whoever knows.

A `Metrics` owns its registry; nothing is global. A missing reading removes its series: missing is
neither zero nor the last value.
"""

import platform
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from metrics import catalog
from metrics.catalog import PrometheusMetric
from scaler.model.readings import Capacity, Missing, QueueSample

if TYPE_CHECKING:
    from metrics.publish.cloudwatch import PublishResult

MAX_NAMES = 1000
"""Distinct values of one label; later ones are counted as `other`."""

OTHER = "other"

_Labelled = Gauge | Counter | Histogram


@dataclass(slots=True)
class _Names:
    """The values of one label, bounded. Once `known` is given, only those have a name."""

    known: frozenset[str] | None = None
    seen: set[str] = field(default_factory=set)

    def bounded(self, name: str) -> str:
        if self.known is not None:
            return name if name in self.known else OTHER
        if name not in self.seen:
            if len(self.seen) >= MAX_NAMES:
                return OTHER
            self.seen.add(name)
        return name


@dataclass(slots=True)
class _Distribution:
    counts: list[float]
    total: float = 0.0


class _BinnedHistogram(Collector):
    """A histogram fed with (value, count) bins; the library's own takes one value at a time."""

    def __init__(self, entry: PrometheusMetric) -> None:
        self._entry = entry
        self._by_label: dict[str, _Distribution] = {}

    def add(self, label: str, bins: Iterable[tuple[float, float]]) -> None:
        bounds = self._entry.buckets
        series = self._by_label.setdefault(label, _Distribution([0.0] * (len(bounds) + 1)))
        for value, count in bins:
            series.counts[bisect_left(bounds, value)] += count
            series.total += value * count

    def keep(self, labels: Collection[str]) -> None:
        self._by_label = {k: v for k, v in self._by_label.items() if k in labels}

    def describe(self) -> Iterator[Metric]:
        yield HistogramMetricFamily(
            self._entry.name, self._entry.help, labels=self._entry.labels, unit="seconds"
        )

    def collect(self) -> Iterator[Metric]:
        family = HistogramMetricFamily(
            self._entry.name, self._entry.help, labels=self._entry.labels, unit="seconds"
        )
        bounds = [*(repr(float(bound)) for bound in self._entry.buckets), "+Inf"]
        for label, series in self._by_label.items():
            below, buckets = 0.0, []
            for bound, count in zip(bounds, series.counts, strict=True):
                below += count
                buckets.append((bound, below))
            family.add_metric([label], buckets, series.total)
        yield family


class _WithoutCreated(Collector):
    """The registry without the `_created` series that the library adds to each counter and
    histogram; its own switch for them is global."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        for family in self._registry.collect():
            family.samples = [s for s in family.samples if not s.name.endswith("_created")]
            yield family


class Metrics:
    """All series of one daemon. Plain calls, never raising for a name they do not know."""

    def __init__(self, *, version: str) -> None:
        registry = CollectorRegistry(auto_describe=False)
        self._page = _WithoutCreated(registry)
        self._queues, self._fleets, self._policies = _Names(), _Names(), _Names()
        self._components, self._reasons = _Names(), _Names()

        def gauge(entry: PrometheusMetric) -> Gauge:
            return Gauge(entry.name, entry.help, entry.labels, registry=registry)

        def counter(entry: PrometheusMetric) -> Counter:
            return Counter(entry.name, entry.help, entry.labels, registry=registry)

        self._depth = gauge(catalog.QUEUE_DEPTH)
        self._in_flight = gauge(catalog.QUEUE_IN_FLIGHT)
        self._delayed = gauge(catalog.QUEUE_DELAYED)
        self._oldest_age_s = gauge(catalog.QUEUE_OLDEST_AGE)
        self._processing_s = _BinnedHistogram(catalog.PROCESSING_TIME)
        registry.register(self._processing_s)
        self._desired = gauge(catalog.CAPACITY_DESIRED)
        self._in_service = gauge(catalog.CAPACITY_IN_SERVICE)
        self._pending = gauge(catalog.CAPACITY_PENDING)
        self._decisions = counter(catalog.DECISIONS)
        self._effects = counter(catalog.GUARDRAIL_EFFECTS)
        self._tick_s = Histogram(
            catalog.TICK_DURATION.name,
            catalog.TICK_DURATION.help,
            catalog.TICK_DURATION.labels,
            buckets=catalog.TICK_DURATION.buckets,
            registry=registry,
        )
        self._errors = counter(catalog.ERRORS)
        self._attainment = gauge(catalog.ATTAINMENT)
        self._leader = gauge(catalog.LEADER)
        self._lag_s = gauge(catalog.PUBLISH_LAG)
        self._waiting = gauge(catalog.PUBLISH_WAITING)
        self._published = counter(catalog.DATA_PUBLISHED)
        self._dropped = counter(catalog.DATA_DROPPED)
        self._repeated = counter(catalog.DATA_REPEATED)
        self._reports_read = counter(catalog.REPORTS_READ)
        self._reports_dropped = counter(catalog.REPORTS_DROPPED)
        self._reload_success = gauge(catalog.CONFIG_RELOAD_SUCCESS)
        self._reload_at_s = gauge(catalog.CONFIG_RELOAD_TIME)
        gauge(catalog.BUILD_INFO).labels(version, platform.python_version()).set(1)
        ProcessCollector(registry=registry)

    def page(self, accept: str = "") -> tuple[bytes, str]:
        """The page and its content type, in the format that an `Accept` header asks for."""
        encode, content_type = choose_encoder(accept)
        return encode(self._page), content_type

    def keep(self, *, queues: Collection[str], fleets: Collection[str]) -> None:
        """The configured names, after a (re)load: series of all others go, new ones are `other`."""
        self._queues.known, self._fleets.known = frozenset(queues), frozenset(fleets)
        self._processing_s.keep({*queues, OTHER})
        by_queue: tuple[tuple[_Labelled, PrometheusMetric], ...] = (
            (self._depth, catalog.QUEUE_DEPTH),
            (self._in_flight, catalog.QUEUE_IN_FLIGHT),
            (self._delayed, catalog.QUEUE_DELAYED),
            (self._oldest_age_s, catalog.QUEUE_OLDEST_AGE),
        )
        by_fleet: tuple[tuple[_Labelled, PrometheusMetric], ...] = (
            (self._desired, catalog.CAPACITY_DESIRED),
            (self._in_service, catalog.CAPACITY_IN_SERVICE),
            (self._pending, catalog.CAPACITY_PENDING),
            (self._attainment, catalog.ATTAINMENT),
            (self._leader, catalog.LEADER),
            (self._decisions, catalog.DECISIONS),
            (self._effects, catalog.GUARDRAIL_EFFECTS),
            (self._tick_s, catalog.TICK_DURATION),
        )
        for metric, entry in by_queue:
            _keep(metric, entry, "queue", {*queues, OTHER})
        for metric, entry in by_fleet:
            _keep(metric, entry, "fleet", {*fleets, OTHER})

    def queue(self, queue: str, sample: QueueSample | Missing) -> None:
        """The newest look at a queue; what it could not tell loses its series."""
        name = self._queues.bounded(queue)
        if isinstance(sample, Missing):
            for series in (self._depth, self._in_flight, self._delayed, self._oldest_age_s):
                _remove(series, name)
            return
        _show(self._depth, name, sample.waiting)
        _show(self._in_flight, name, sample.in_flight)
        _show(self._delayed, name, sample.delayed)
        _show(self._oldest_age_s, name, sample.oldest_age_s)

    def processing(self, queue: str, bins: Iterable[tuple[float, float]]) -> None:
        """Processing times of finished jobs: (seconds, jobs) pairs."""
        self._processing_s.add(self._queues.bounded(queue), bins)

    def capacity(self, fleet: str, capacity: Capacity | Missing) -> None:
        """The target as it is; one that cannot be described loses its series."""
        name = self._fleets.bounded(fleet)
        if isinstance(capacity, Missing):
            for series in (self._desired, self._in_service, self._pending):
                _remove(series, name)
            return
        _show(self._desired, name, capacity.desired)
        _show(self._in_service, name, capacity.in_service)
        _show(self._pending, name, capacity.pending)

    def decision(self, *, fleet: str, policy: str, direction: str, outcome: str) -> None:
        """One decision, "no change" included."""
        self._decisions.labels(
            self._fleets.bounded(fleet), self._policies.bounded(policy), direction, outcome
        ).inc()

    def guardrail(self, *, fleet: str, guardrail: str) -> None:
        """One decision that this guardrail changed."""
        self._effects.labels(self._fleets.bounded(fleet), guardrail).inc()

    def tick(self, fleet: str, *, took_s: float) -> None:
        """One pass of a fleet's controller."""
        self._tick_s.labels(self._fleets.bounded(fleet)).observe(took_s)

    def error(self, component: str) -> None:
        """Something went wrong in this part of the daemon."""
        self._errors.labels(self._components.bounded(component)).inc()

    def attainment(self, fleet: str, ratio: float | Missing) -> None:
        """The share of jobs that met the fleet's objective; unknown, it has no series."""
        name = self._fleets.bounded(fleet)
        if isinstance(ratio, Missing):
            _remove(self._attainment, name)
        else:
            self._attainment.labels(name).set(ratio)

    def leader(self, fleet: str, *, held: bool) -> None:
        """Whether this daemon holds the fleet's lease."""
        self._leader.labels(self._fleets.bounded(fleet)).set(1 if held else 0)

    def published(self, result: "PublishResult") -> None:
        """What one flush towards CloudWatch did."""
        self._published.inc(result.sent)
        self._repeated.inc(result.repeated)
        for reason, count in result.dropped.items():
            self._dropped.labels(reason).inc(count)
        self._lag_s.set(result.lag_s)
        self._waiting.set(result.waiting)

    def reports(self, *, read: int, dropped: Mapping[str, int]) -> None:
        """Workers' reports read, and dropped by reason, since the call before."""
        self._reports_read.inc(read)
        for reason, count in dropped.items():
            self._reports_dropped.labels(self._reasons.bounded(reason)).inc(count)

    def config_loaded(self, *, accepted: bool, wall_s: float) -> None:
        """The end of one load of the configuration, at this wall time."""
        self._reload_success.set(1 if accepted else 0)
        if accepted:
            self._reload_at_s.set(wall_s)


def _show(series: Gauge, name: str, value: float | Missing) -> None:
    if isinstance(value, Missing):
        _remove(series, name)
    else:
        series.labels(name).set(value)


def _remove(metric: _Labelled, *labels: str) -> None:
    with suppress(KeyError):  # older releases of the library raise when there is no such series
        metric.remove(*labels)


def _keep(metric: _Labelled, entry: PrometheusMetric, label: str, names: Collection[str]) -> None:
    """Remove the series whose `label` is none of `names`."""
    gone = {
        tuple(sample.labels[name] for name in entry.labels)
        for family in metric.collect()
        for sample in family.samples
        if sample.labels[label] not in names
    }
    for labels in gone:
        _remove(metric, *labels)
