"""The metrics page shows what is known, removes what is missing, and its labels are bounded.

Method: the page is read back by the library's own parser, as a scraper would.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Histogram
from prometheus_client.parser import text_string_to_metric_families

from metrics import catalog
from metrics.publish.cloudwatch import PublishResult
from metrics.publish.prometheus import MAX_NAMES, Metrics
from scaler.model.readings import Capacity, Missing, QueueSample


def series(metrics, name):
    """{label values in the catalog's order: value} of one series name."""
    text = metrics.page()[0].decode()
    return {
        tuple(sample.labels[key] for key in sorted(sample.labels) if key != "le"): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name
    }


def sample(waiting=3, in_flight=2, delayed=1, oldest_age_s=41.5):
    return QueueSample(
        waiting=waiting,
        in_flight=in_flight,
        delayed=delayed,
        oldest_age_s=oldest_age_s,
        server_at_s=0.0,
    )


@pytest.fixture
def metrics():
    return Metrics(version="1.2.3")


QUEUE_SERIES = {
    "ascension_scaler_queue_depth": 3,
    "ascension_scaler_queue_in_flight": 2,
    "ascension_scaler_queue_delayed": 1,
    "ascension_scaler_queue_oldest_age_seconds": 41.5,
}


def test_a_missing_reading_removes_the_series_until_it_is_back(metrics):
    for _ in range(2):
        metrics.queue("videos", sample())
        assert {name: series(metrics, name) for name in QUEUE_SERIES} == {
            name: {("videos",): value} for name, value in QUEUE_SERIES.items()
        }
        metrics.queue("videos", Missing("connection refused"))
        assert all(series(metrics, name) == {} for name in QUEUE_SERIES)


def test_a_missing_part_removes_only_its_own_series(metrics):
    metrics.queue("videos", sample())
    metrics.queue("videos", sample(in_flight=Missing("plain list"), oldest_age_s=Missing("no id")))

    assert series(metrics, "ascension_scaler_queue_in_flight") == {}
    assert series(metrics, "ascension_scaler_queue_oldest_age_seconds") == {}
    assert series(metrics, "ascension_scaler_queue_depth") == {("videos",): 3}


def test_capacity_is_shown_and_removed_when_the_target_cannot_be_described(metrics):
    metrics.capacity("gpu", Capacity(desired=5, in_service=3, pending=2))
    assert series(metrics, "ascension_scaler_capacity_desired") == {("gpu",): 5}
    assert series(metrics, "ascension_scaler_capacity_in_service") == {("gpu",): 3}
    assert series(metrics, "ascension_scaler_capacity_pending") == {("gpu",): 2}

    metrics.capacity("gpu", Missing("AccessDenied"))
    assert series(metrics, "ascension_scaler_capacity_desired") == {}


@given(
    bins=st.lists(
        st.tuples(
            st.sampled_from([0.0, 0.1, 0.10001, 1.0, 59.9, 60.0, 7200.0]), st.integers(1, 20)
        ),
        max_size=20,
    )
)
def test_the_binned_histogram_equals_the_library_s_own(bins):
    ours = Metrics(version="1")
    ours.processing("q", bins)
    theirs = Histogram("h", "h", registry=None, buckets=catalog.PROCESSING_TIME.buckets)
    for value, count in bins:
        for _ in range(count):
            theirs.observe(value)

    def told(families, prefix):
        return {
            (s.name.removeprefix(prefix), s.labels.get("le")): pytest.approx(s.value)
            for f in families
            for s in f.samples
            if s.name.startswith(prefix) and not s.name.endswith("_created")
        }

    page = text_string_to_metric_families(ours.page()[0].decode())
    assert told(page, "ascension_scaler_processing_time_seconds") == told(theirs.collect(), "h")


def test_decisions_effects_errors_and_ticks_are_counted(metrics):
    for _ in range(3):
        metrics.decision(fleet="gpu", policy="step", direction="out", outcome="applied")
    metrics.guardrail(fleet="gpu", guardrail="cooldown")
    metrics.error("poller")
    metrics.tick("gpu", took_s=0.02)
    metrics.leader("gpu", held=True)
    metrics.reports(read=7, dropped={"unreadable": 2})

    assert series(metrics, "ascension_scaler_decisions_total") == {
        ("out", "gpu", "applied", "step"): 3
    }
    assert series(metrics, "ascension_scaler_guardrail_effects_total") == {("gpu", "cooldown"): 1}
    assert series(metrics, "ascension_scaler_errors_total") == {("poller",): 1}
    assert series(metrics, "ascension_scaler_tick_duration_seconds_count") == {("gpu",): 1}
    assert series(metrics, "ascension_scaler_leader") == {("gpu",): 1}
    assert series(metrics, "ascension_scaler_reports_read_total") == {(): 7}
    assert series(metrics, "ascension_scaler_reports_dropped_total") == {("unreadable",): 2}


def test_a_flush_is_counted(metrics):
    metrics.published(
        PublishResult(
            sent=10,
            requests=1,
            dropped={"overflow": 4},
            repeated=3,
            waiting=2,
            lag_s=61.0,
            trouble="Throttling: Rate exceeded",
            retry_after_s=5.0,
        )
    )

    assert series(metrics, "ascension_scaler_data_published_total") == {(): 10}
    assert series(metrics, "ascension_scaler_data_dropped_total") == {("overflow",): 4}
    assert series(metrics, "ascension_scaler_data_repeated_total") == {(): 3}
    assert series(metrics, "ascension_scaler_publish_waiting") == {(): 2}
    assert series(metrics, "ascension_scaler_publish_lag_seconds") == {(): 61}


def test_a_refused_reload_keeps_the_time_of_the_last_good_one(metrics):
    metrics.config_loaded(accepted=True, wall_s=1000.0)
    metrics.config_loaded(accepted=False, wall_s=2000.0)

    assert series(metrics, "ascension_scaler_config_reload_success") == {(): 0}
    assert series(metrics, "ascension_scaler_config_reload_timestamp_seconds") == {(): 1000}


def test_names_that_are_not_configured_share_one_series(metrics):
    metrics.keep(queues=["videos"], fleets=["gpu"])
    metrics.processing("made-up-by-a-worker", [(1.0, 2)])
    metrics.processing("another", [(1.0, 3)])
    metrics.processing("videos", [(1.0, 1)])

    assert series(metrics, "ascension_scaler_processing_time_seconds_count") == {
        ("other",): 5,
        ("videos",): 1,
    }


def test_series_of_what_left_the_configuration_go_with_it(metrics):
    for name in ("old", "kept"):
        metrics.queue(name, sample())
        metrics.processing(name, [(1.0, 1)])
        metrics.capacity(name, Capacity(desired=1, in_service=1))
        metrics.decision(fleet=name, policy="step", direction="in", outcome="refused")
        metrics.tick(name, took_s=0.1)

    metrics.keep(queues=["kept"], fleets=["kept"])

    text = metrics.page()[0].decode()
    assert '"old"' not in text
    assert text.count('"kept"') > 10


def test_labels_are_bounded_even_without_a_configuration(metrics):
    for number in range(MAX_NAMES + 50):
        metrics.error(f"component-{number}")

    counted = series(metrics, "ascension_scaler_errors_total")
    assert len(counted) == MAX_NAMES + 1
    assert counted["other",] == 50


def test_build_info_says_what_runs(metrics):
    assert [labels[1] for labels in series(metrics, "ascension_scaler_build_info")] == ["1.2.3"]


def test_the_scraper_chooses_the_format(metrics):
    metrics.error("poller")
    plain, plain_type = metrics.page("text/plain;version=0.0.4")
    open_, open_type = metrics.page("application/openmetrics-text;version=1.0.0")

    assert plain_type.startswith("text/plain")
    assert open_type.startswith("application/openmetrics-text")
    assert open_.endswith(b"# EOF\n")
    assert b"_created" not in plain + open_


def test_two_daemons_in_one_process_share_nothing(metrics):
    metrics.error("poller")

    assert series(Metrics(version="1"), "ascension_scaler_errors_total") == {}
