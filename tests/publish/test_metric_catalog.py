"""The catalog is the one place where metrics are named: the page, the docs and the rules agree.

Method: the real page is parsed by the library's own parser and compared with the catalog; the
rules are those of `promtool check metrics`, written out here.
"""

import re
from pathlib import Path
from typing import get_args

import pytest
from prometheus_client.parser import text_string_to_metric_families

from metrics import catalog
from metrics.publish.datum import DropReason
from metrics.publish.prometheus import Metrics

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "metrics.md"


def test_the_reference_page_is_what_the_catalog_says():
    assert PAGE.read_text() == catalog.reference(), "python -m metrics.catalog > " + str(PAGE)


def test_the_page_exposes_exactly_the_catalog():
    text = Metrics(version="1.2.3").page()[0].decode()

    typed = dict(re.findall(r"^# TYPE (ascension_\S+) (\S+)$", text, re.MULTILINE))
    helps = dict(re.findall(r"^# HELP (ascension_\S+) (.+)$", text, re.MULTILINE))
    assert typed == {entry.name: entry.kind for entry in catalog.PROMETHEUS}
    assert helps == {entry.name: entry.help for entry in catalog.PROMETHEUS}


def test_the_reference_page_explains_each_reason_for_a_drop():
    explained = re.findall(r"^\| `([a-z_]+)` \| \S", PAGE.read_text(), re.MULTILINE)

    assert set(get_args(DropReason)) <= set(explained)


@pytest.mark.parametrize("entry", catalog.PROMETHEUS, ids=lambda entry: entry.name)
def test_names_keep_the_conventions(entry):
    assert re.fullmatch(r"ascension_scaler_[a-z]+(_[a-z]+)*", entry.name)
    assert entry.help.strip()
    assert entry.name.endswith("_total") == (entry.kind == "counter")
    assert ("_seconds" in entry.name) == (entry.unit == "seconds")
    assert not re.search(
        r"_(ms|millis|milliseconds|minutes|gauge|counter|histogram)(_|$)", entry.name
    )
    assert not re.search(r"_(bucket|count|sum)$", entry.name)
    assert not set(entry.labels) & {"le", "quantile", "job", "instance"}
    assert (entry.kind == "histogram") == bool(entry.buckets)
    assert list(entry.buckets) == sorted(set(entry.buckets))


def test_the_library_reads_its_own_page_back():
    families = list(text_string_to_metric_families(Metrics(version="1").page()[0].decode()))

    assert {family.name for family in families} >= {"ascension_scaler_build_info"}


def test_the_stack_totals_have_no_dimensions():
    assert all(
        metric.dimension_sets == ((), ("Environment", "Queue")) for metric in catalog.CLOUDWATCH
    )
    assert {metric.name: metric.unit for metric in catalog.CLOUDWATCH} == {
        "QueueDepth": "Count",
        "ProcessingTime": "Seconds",
    }
