"""Every metric once: name, unit, dimensions or labels, and what it means.

The publishers build what they send from these entries, and `docs/reference/metrics.md` is
`reference()`. After a change here, write that page again:

    python -m metrics.catalog > docs/reference/metrics.md
"""

import sys
from dataclasses import dataclass, field
from typing import Literal

CLOUDWATCH_NAMESPACE = "Ascension"


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudWatchMetric:
    """One metric in CloudWatch.

    Attributes:
        unit: as CloudWatch spells it; a query that names another unit finds nothing.
        dimension_sets: each set is a metric of its own, and is read by exactly that set:
            CloudWatch does not roll custom metrics up. The empty set holds the stack's totals.
    """

    name: str
    unit: Literal["Count", "Seconds"]
    help: str
    dimension_sets: tuple[tuple[str, ...], ...]


TOTAL_AND_PER_QUEUE = ((), ("Environment", "Queue"))

CLOUDWATCH_QUEUE_DEPTH = CloudWatchMetric(
    name="QueueDepth",
    unit="Count",
    help="Jobs waiting to start, one value per poll.",
    dimension_sets=TOTAL_AND_PER_QUEUE,
)
CLOUDWATCH_PROCESSING_TIME = CloudWatchMetric(
    name="ProcessingTime",
    unit="Seconds",
    help="Start to finish of each finished job, as a distribution: p50, p95 and p99 work.",
    dimension_sets=TOTAL_AND_PER_QUEUE,
)
CLOUDWATCH = (CLOUDWATCH_QUEUE_DEPTH, CLOUDWATCH_PROCESSING_TIME)

PrometheusKind = Literal["gauge", "counter", "histogram"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PrometheusMetric:
    """One metric family on `/metrics`.

    Attributes:
        name: as exposed, `_total` and `_info` included.
        unit: the base unit of the values; `1` for flags and for constants.
        buckets: upper bounds of a histogram, ascending, without +Inf.
    """

    name: str
    kind: PrometheusKind
    unit: str
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = field(default=())


QUEUE_DEPTH = PrometheusMetric(
    name="ascension_scaler_queue_depth",
    kind="gauge",
    unit="jobs",
    labels=("queue",),
    help="Jobs waiting to start.",
)
QUEUE_IN_FLIGHT = PrometheusMetric(
    name="ascension_scaler_queue_in_flight",
    kind="gauge",
    unit="jobs",
    labels=("queue",),
    help="Jobs taken by a worker and not finished.",
)
QUEUE_DELAYED = PrometheusMetric(
    name="ascension_scaler_queue_delayed",
    kind="gauge",
    unit="jobs",
    labels=("queue",),
    help="Jobs not yet due.",
)
QUEUE_OLDEST_AGE = PrometheusMetric(
    name="ascension_scaler_queue_oldest_age_seconds",
    kind="gauge",
    unit="seconds",
    labels=("queue",),
    help="How long the oldest waiting job has waited.",
)
PROCESSING_TIME = PrometheusMetric(
    name="ascension_scaler_processing_time_seconds",
    kind="histogram",
    unit="seconds",
    labels=("queue",),
    help="Start to finish of each finished job, as workers report it.",
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600),
)
CAPACITY_DESIRED = PrometheusMetric(
    name="ascension_scaler_capacity_desired",
    kind="gauge",
    unit="workers",
    labels=("fleet",),
    help="Workers that the target is asked to run.",
)
CAPACITY_IN_SERVICE = PrometheusMetric(
    name="ascension_scaler_capacity_in_service",
    kind="gauge",
    unit="workers",
    labels=("fleet",),
    help="Workers in service: InService for a group, RUNNING for a service.",
)
CAPACITY_PENDING = PrometheusMetric(
    name="ascension_scaler_capacity_pending",
    kind="gauge",
    unit="workers",
    labels=("fleet",),
    help="Workers launched and not yet in service.",
)
DECISIONS = PrometheusMetric(
    name="ascension_scaler_decisions_total",
    kind="counter",
    unit="decisions",
    labels=("fleet", "policy", "direction", "outcome"),
    help="Decisions, those that change nothing included. The policy is the first whose "
    "recommendation won, or none.",
)
GUARDRAIL_EFFECTS = PrometheusMetric(
    name="ascension_scaler_guardrail_effects_total",
    kind="counter",
    unit="effects",
    labels=("fleet", "guardrail"),
    help="Decisions that a guardrail changed.",
)
TICK_DURATION = PrometheusMetric(
    name="ascension_scaler_tick_duration_seconds",
    kind="histogram",
    unit="seconds",
    labels=("fleet",),
    help="One pass of a fleet's controller, the write to the target included.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
ERRORS = PrometheusMetric(
    name="ascension_scaler_errors_total",
    kind="counter",
    unit="errors",
    labels=("component",),
    help="Things that went wrong, by the part they went wrong in.",
)
ATTAINMENT = PrometheusMetric(
    name="ascension_scaler_objective_attainment_ratio",
    kind="gauge",
    unit="ratio",
    labels=("fleet",),
    help="Share of jobs started in the reports' window that waited no longer than the objective.",
)
LEADER = PrometheusMetric(
    name="ascension_scaler_leader",
    kind="gauge",
    unit="1",
    labels=("fleet",),
    help="1 while this daemon holds the lease of the fleet, else 0.",
)
PUBLISH_LAG = PrometheusMetric(
    name="ascension_scaler_publish_lag_seconds",
    kind="gauge",
    unit="seconds",
    help="Age of the oldest datum that CloudWatch has not accepted yet; 0 when none waits.",
)
PUBLISH_WAITING = PrometheusMetric(
    name="ascension_scaler_publish_waiting",
    kind="gauge",
    unit="data",
    help="Data that wait in memory for CloudWatch.",
)
DATA_PUBLISHED = PrometheusMetric(
    name="ascension_scaler_data_published_total",
    kind="counter",
    unit="data",
    help="Data that CloudWatch accepted.",
)
DATA_DROPPED = PrometheusMetric(
    name="ascension_scaler_data_dropped_total",
    kind="counter",
    unit="data",
    labels=("reason",),
    help="Data lost, in whole or in part, before CloudWatch had them.",
)
DATA_REPEATED = PrometheusMetric(
    name="ascension_scaler_data_repeated_total",
    kind="counter",
    unit="data",
    help="Data sent again because the first request brought no answer: CloudWatch may have "
    "them twice.",
)
REPORTS_READ = PrometheusMetric(
    name="ascension_scaler_reports_read_total",
    kind="counter",
    unit="reports",
    help="Workers' reports that were read and counted.",
)
REPORTS_DROPPED = PrometheusMetric(
    name="ascension_scaler_reports_dropped_total",
    kind="counter",
    unit="reports",
    labels=("reason",),
    help="Workers' reports, or what was made of them, that could not be counted.",
)
CONFIG_RELOAD_SUCCESS = PrometheusMetric(
    name="ascension_scaler_config_reload_success",
    kind="gauge",
    unit="1",
    help="1 when the last load of the configuration was accepted, 0 when it was refused and the "
    "old one keeps running.",
)
CONFIG_RELOAD_TIME = PrometheusMetric(
    name="ascension_scaler_config_reload_timestamp_seconds",
    kind="gauge",
    unit="seconds",
    help="Unix time of the last load of the configuration that was accepted.",
)
BUILD_INFO = PrometheusMetric(
    name="ascension_scaler_build_info",
    kind="gauge",
    unit="1",
    labels=("version", "python"),
    help="1; the labels say what runs.",
)
PROMETHEUS = (
    QUEUE_DEPTH,
    QUEUE_IN_FLIGHT,
    QUEUE_DELAYED,
    QUEUE_OLDEST_AGE,
    PROCESSING_TIME,
    CAPACITY_DESIRED,
    CAPACITY_IN_SERVICE,
    CAPACITY_PENDING,
    DECISIONS,
    GUARDRAIL_EFFECTS,
    TICK_DURATION,
    ERRORS,
    ATTAINMENT,
    LEADER,
    PUBLISH_LAG,
    PUBLISH_WAITING,
    DATA_PUBLISHED,
    DATA_DROPPED,
    DATA_REPEATED,
    REPORTS_READ,
    REPORTS_DROPPED,
    CONFIG_RELOAD_SUCCESS,
    CONFIG_RELOAD_TIME,
    BUILD_INFO,
)

_HEAD = """\
# Which metrics are there, and what do they mean?

<!-- Generated: python -m metrics.catalog > docs/reference/metrics.md -->

## CloudWatch

Namespace `{namespace}`, one-minute resolution, each value stamped with its own minute.

| metric | unit | dimensions | meaning |
| --- | --- | --- | --- |
"""

_CLOUDWATCH_NOTES = """
- CloudWatch does not roll custom metrics up: each set of dimensions is a metric of its own. The
  set "none" holds the stack's totals; alarms and dashboards name exactly one set.
- **Missing is not zero.** A queue that could not be read at a poll has no value for that poll,
  and then the total has none either: a sum without one of its parts would be too small. A queue
  that stays unreadable therefore stops the total. Give alarms a treatment of missing data that
  says so, not `notBreaching`.
- The total of `QueueDepth` is one value per poll, the sum over all queues at that poll, so
  `Average` is the mean backlog of the minute. `Sum` adds polls up and means nothing.
- `ProcessingTime` values are the bins of a sketch: each is within the sketch's relative accuracy
  of the real time. `SampleCount` is the number of finished jobs.
- Two daemons that publish the same queues double `SampleCount` and `Sum` of `QueueDepth`;
  `Average` and `Maximum` stay right.
- Data wait in memory while CloudWatch cannot be reached: at most 10,000, the oldest go first,
  each is counted in `ascension_scaler_data_dropped_total`. A request without an answer may have
  arrived; it is sent again and counted in `ascension_scaler_data_repeated_total`.

Reasons in `ascension_scaler_data_dropped_total`:

| reason | what was lost |
| --- | --- |
"""

_DROP_REASONS = {
    "not_a_number": "a value was NaN or infinite",
    "out_of_range": "a value was beyond ±2^360",
    "negative": "a value was below zero; one such value ends all percentiles of its metric",
    "bad_count": "a count was not a positive number",
    "too_old": "stamped more than two weeks ago",
    "too_new": "stamped more than two hours ahead",
    "overflow": "the buffer was full; this was the oldest datum in it",
    "refused": "CloudWatch refused this datum on its own; its batch arrived without it",
}

_PROMETHEUS_HEAD = """
## Prometheus

`GET /metrics` on `http.listen`, in the text format or OpenMetrics, as the scraper asks.

| metric | type | unit | labels | meaning |
| --- | --- | --- | --- | --- |
"""

_PROMETHEUS_NOTES = """
- **Missing is not zero, nor the last value.** A queue that cannot be read loses its series until
  it can be read again; so does the capacity of a target that cannot be described. Alert with
  `absent()` or on `ascension_scaler_errors_total`.
- Labels are bounded. `queue`, `fleet` and `policy` are configured names, `component`, `reason`,
  `guardrail`, `direction` and `outcome` come from the code. A name beyond the bound, such as a
  queue that only a worker's report knows, is counted under `other`. Series of a queue or fleet
  that leaves the configuration go with it.
- `outcome` is `applied`, `unchanged`, `refused`, `unknown` (no answer in time) or `withheld` (dry
  run); `direction` is `out`, `in` or `none`.
- The process's own CPU, memory and open files are there under `process_`.
"""


def reference() -> str:
    """The text of `docs/reference/metrics.md`."""
    lines = [_HEAD.format(namespace=CLOUDWATCH_NAMESPACE)]
    for cw in CLOUDWATCH:
        sets = "; ".join(", ".join(names) or "none" for names in cw.dimension_sets)
        lines.append(f"| `{cw.name}` | {cw.unit} | {sets} | {cw.help} |\n")
    lines.append(_CLOUDWATCH_NOTES)
    lines += [f"| `{reason}` | {text} |\n" for reason, text in _DROP_REASONS.items()]
    lines.append(_PROMETHEUS_HEAD)
    for pm in PROMETHEUS:
        labels = ", ".join(f"`{label}`" for label in pm.labels) or "–"
        lines.append(f"| `{pm.name}` | {pm.kind} | {pm.unit} | {labels} | {pm.help} |\n")
    lines.append("\nBuckets, in seconds:\n\n")
    lines += [
        f"- `{pm.name}`: {', '.join(f'{bound:g}' for bound in pm.buckets)}\n"
        for pm in PROMETHEUS
        if pm.buckets
    ]
    lines.append(_PROMETHEUS_NOTES)
    return "".join(lines)


if __name__ == "__main__":
    sys.stdout.write(reference())
