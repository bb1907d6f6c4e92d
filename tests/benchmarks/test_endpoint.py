"""The endpoint of the benchmarks is AWS enough: boto3 understands its answers, and it tells of each
SetDesiredCapacity exactly once, with a moment between the call's start and its end.

Method: the endpoint as a process of its own, called by the daemon's own adapters.
"""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from rig import Endpoint, aws_endpoint, quantile, table

from metrics.publish.cloudwatch import CLIENT_CONFIG
from scaler.model.change import SetDesired
from scaler.model.readings import Capacity
from scaler.targets.asg import AsgTarget
from scaler.targets.aws import AwsCalls, AwsConnections, AwsSettings


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    with aws_endpoint() as running:
        yield running


def settings_of(endpoint: Endpoint) -> AwsSettings:
    return AwsSettings(region="us-east-1", endpoint_url=endpoint.url)


async def test_a_target_describes_and_writes_through_it_and_the_receipt_is_in_between(
    endpoint: Endpoint,
):
    settings = settings_of(endpoint)
    calls = AwsCalls("gpu", settings=settings)
    clients = AwsConnections(settings).autoscaling()
    target = AsgTarget("gpu", clients=clients, calls=calls, now=time.monotonic)

    before = await target.describe()
    assert isinstance(before, Capacity)
    assert (before.desired, before.in_service, before.target_min) == (0, 0, 0)

    began_ns = time.monotonic_ns()
    outcome = await target.apply(SetDesired(current=0, desired=3))
    ended_ns = time.monotonic_ns()
    assert outcome.kind == "applied"
    receipt = endpoint.next_receipt("gpu")
    assert receipt.desired == 3
    assert began_ns < receipt.at_ns < ended_ns
    assert endpoint.receipts.empty()

    after = await target.describe()
    assert isinstance(after, Capacity)
    assert after.desired == 3
    calls.close()


def test_metrics_are_taken_in_the_protocol_that_the_sdk_chooses(endpoint: Endpoint):
    client = AwsConnections(settings_of(endpoint)).cloudwatch(CLIENT_CONFIG)
    one = {"MetricName": "QueueDepth", "Value": 1.0}
    client.put_metric_data(Namespace="Test", MetricData=[one])
    client.put_metric_data(Namespace="Test", MetricData=[one] * 200)  # compressed
    assert endpoint.receipts.empty(), "only SetDesiredCapacity is told"


def test_a_quantile_is_one_of_the_figures_by_nearest_rank():
    figures = [float(n) for n in range(1, 101)]
    assert quantile(figures, 0.5) == 50
    assert quantile(figures, 0.99) == 99
    assert quantile(figures, 1.0) == 100
    assert quantile([7.0], 0.01) == 7.0


def test_a_table_aligns_names_left_and_figures_right():
    assert table(["what", "ms"], [["a", "1.0"], ["longer", "10.0"]]).splitlines() == [
        "what      ms",
        "a        1.0",
        "longer  10.0",
    ]
