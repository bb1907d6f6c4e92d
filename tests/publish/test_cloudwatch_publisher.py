"""Data reach CloudWatch once, in order and bounded, whatever the other side does.

Method: a real boto3 client against real HTTP. Statistics are read back from moto; faults come
from a small server that speaks CloudWatch's JSON protocol and refuses, throttles or falls silent
as each test tells it. Time is a number that the test moves.
"""

import asyncio
import gzip
import json
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
import pytest
from botocore.config import Config
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from metrics.catalog import CLOUDWATCH_PROCESSING_TIME, CLOUDWATCH_QUEUE_DEPTH
from metrics.publish.cloudwatch import CLIENT_CONFIG, CloudWatchPublisher
from metrics.publish.datum import Datum, distribution
from metrics.publish.depth import MinuteBins, Poll, depth_data, processing_data

NOW_S = 1_767_225_600.0

OK = (200, "")
BAD = (400, "InvalidParameterValue")
THROTTLED = (400, "Throttling")
DENIED = (403, "AccessDenied")
DOWN = (500, "InternalServiceError")
SILENT = (0, "takes it and never answers")
HUNG_UP = (0, "takes it and closes the connection")


class Stub:
    """A CloudWatch that does what `answer(values of the request)` says."""

    def __init__(self):
        self.answer = lambda values: OK
        self.taken: list[float] = []
        self.requests: list[list[float]] = []
        self.bodies: list[tuple[int, bool]] = []
        self.release = threading.Event()
        stub = self

        class Answers(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                zipped = self.headers.get("content-encoding") == "gzip"
                stub.bodies.append((len(body), zipped))
                request = json.loads(gzip.decompress(body) if zipped else body)
                values = [v for datum in request["MetricData"] for v in datum["Values"]]
                stub.requests.append(values)
                status, code = stub.answer(values)
                if status in (0, 200):
                    stub.taken += values
                if status == 0:
                    if code == SILENT[1]:
                        stub.release.wait(10)
                    self.close_connection = True
                    return
                said = b"{}" if not code else json.dumps({"__type": code, "message": "no"}).encode()
                self.send_response(status)
                self.send_header("content-type", "application/x-amz-json-1.0")
                self.send_header("content-length", str(len(said)))
                if code:
                    self.send_header("x-amzn-query-error", f"{code};Sender")
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()

    def stop(self):
        self.release.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def stub() -> Iterator[Stub]:
    stub = Stub()
    yield stub
    stub.stop()


def cloudwatch(url, config=None):
    return boto3.client(
        "cloudwatch",
        region_name="eu-central-1",
        endpoint_url=url,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=CLIENT_CONFIG if config is None else CLIENT_CONFIG.merge(config),
    )


class Time:
    def __init__(self):
        self.at_s = NOW_S

    def __call__(self):
        return self.at_s


@pytest.fixture
def time_():
    return Time()


@pytest.fixture
def threads():
    with ThreadPoolExecutor(1) as pool:
        yield pool


@pytest.fixture
def publisher(stub, threads, time_):
    host, port = stub.server.server_address
    client = cloudwatch(f"http://{host}:{port}")
    made = CloudWatchPublisher(
        client, threads, namespace="Ascension", now=time_, capacity=3000, jitter=lambda: 1.0
    )
    yield made
    stub.release.set()
    client.close()


def datum(value, at_s=NOW_S):
    return Datum(metric=CLOUDWATCH_QUEUE_DEPTH, at_s=at_s, values=(float(value),), counts=(1,))


def numbered(*numbers):
    return [datum(number) for number in numbers]


async def test_statistics_read_back_are_those_of_the_jobs(moto_url, threads):
    namespace = f"Ascension-{uuid.uuid4()}"
    minute_s = datetime.now(UTC).timestamp() // 60 * 60 - 300
    client = cloudwatch(moto_url)
    publisher = CloudWatchPublisher(
        client, threads, namespace=namespace, now=lambda: minute_s + 120
    )
    polls = [Poll(at_s=minute_s + 2 * n, waiting={"videos": n, "images": 1}) for n in range(30)]
    bins = tuple((1 + n / 10, 1 + n % 3) for n in range(400))
    publisher.offer(d for d in depth_data(polls, environment="production") if d.dimensions)
    publisher.offer(
        d
        for d in processing_data(
            [MinuteBins(queue="videos", at_s=minute_s, bins=bins)], environment="production"
        )
        if d.dimensions
    )

    result = await publisher.flush()

    def read(metric, queue, unit):
        points = client.get_metric_statistics(
            Namespace=namespace,
            MetricName=metric,
            Dimensions=[
                {"Name": "Environment", "Value": "production"},
                {"Name": "Queue", "Value": queue},
            ],
            StartTime=datetime.fromtimestamp(minute_s, UTC),
            EndTime=datetime.fromtimestamp(minute_s + 60, UTC),
            Period=60,
            Statistics=["Sum", "SampleCount", "Average", "Minimum", "Maximum"],
            Unit=unit,
        )["Datapoints"]
        assert len(points) == 1
        return points[0]

    depth = read("QueueDepth", "videos", "Count")
    assert (depth["Average"], depth["SampleCount"], depth["Maximum"]) == (14.5, 30, 29)
    times = read("ProcessingTime", "videos", "Seconds")
    jobs = sum(count for _, count in bins)
    total_s = sum(value * count for value, count in bins)
    assert times["SampleCount"] == jobs
    assert times["Sum"] == pytest.approx(total_s)
    assert times["Average"] == pytest.approx(total_s / jobs)
    assert (result.requests, result.waiting, result.trouble) == (1, 0, None)
    assert result.sent == 2 + 3  # one datum per queue's depth, and 400 values in three
    client.close()


async def test_the_stack_total_has_no_dimensions(moto_url, threads):
    namespace = f"Ascension-{uuid.uuid4()}"
    minute_s = datetime.now(UTC).timestamp() // 60 * 60 - 300
    client = cloudwatch(moto_url)
    publisher = CloudWatchPublisher(client, threads, namespace=namespace, now=lambda: minute_s)
    publisher.offer(
        depth_data(
            [Poll(at_s=minute_s, waiting={"videos": 40, "images": 20})], environment="production"
        )
    )

    await publisher.flush()

    listed = client.list_metrics(Namespace=namespace, MetricName="QueueDepth")["Metrics"]
    assert sorted([d["Value"] for d in metric["Dimensions"]] for metric in listed) == [
        [],
        ["production", "images"],
        ["production", "videos"],
    ]
    client.close()


async def test_a_large_body_is_compressed(stub, publisher):
    publisher.offer(numbered(*range(1000)))

    await publisher.flush()

    (size, zipped), *others = stub.bodies
    assert zipped
    assert size < 20_000
    assert others == []


async def test_more_than_one_batch_is_sent_in_order(stub, publisher):
    publisher.offer(numbered(*range(2500)))

    result = await publisher.flush()

    assert stub.taken == list(range(2500))
    assert [len(request) for request in stub.requests] == [1000, 1000, 500]
    assert (result.sent, result.waiting, result.lag_s) == (2500, 0, 0.0)


@pytest.mark.parametrize("poison", [{0}, {999}, {500}, {3, 4}, {0, 512, 999}])
async def test_a_bad_datum_never_takes_its_batch_with_it(stub, publisher, poison):
    stub.answer = lambda values: BAD if poison & set(values) else OK
    publisher.offer(numbered(*range(1000)))

    with capture_logs() as logs:
        result = await publisher.flush()

    assert stub.taken == [n for n in range(1000) if n not in poison]
    assert result.dropped == {"refused": len(poison)}
    assert (result.sent, result.waiting, result.trouble) == (1000 - len(poison), 0, None)
    assert result.requests <= 1 + 2 * 10 * len(poison)
    assert [log["event"] for log in logs] == ["datum_refused"] * len(poison)


@pytest.mark.parametrize(
    "refusal",
    [
        BAD,
        (400, "MissingParameter"),
        (400, "InvalidParameterCombination"),
        (400, "ValidationError"),
        (413, "RequestEntityTooLarge"),
    ],
)
async def test_each_refusal_that_blames_the_data_isolates_them(stub, publisher, refusal):
    stub.answer = lambda values: refusal if 2 in values else OK
    publisher.offer(numbered(1, 2, 3))

    result = await publisher.flush()

    assert stub.taken == [1, 3]
    assert result.dropped == {"refused": 1}


@settings(max_examples=15, deadline=None)
@given(poison=st.sets(st.integers(0, 39), max_size=40))
def test_whatever_is_bad_all_the_rest_arrives_once_and_in_order(poison):
    stub = Stub()
    stub.answer = lambda values: BAD if poison & set(values) else OK
    host, port = stub.server.server_address
    client = cloudwatch(f"http://{host}:{port}")
    with ThreadPoolExecutor(1) as pool:
        publisher = CloudWatchPublisher(client, pool, namespace="N", now=lambda: NOW_S)
        publisher.offer(numbered(*range(40)))
        result = asyncio.run(publisher.flush())
    client.close()
    stub.stop()

    assert stub.taken == [n for n in range(40) if n not in poison]
    assert result.dropped.get("refused", 0) == len(poison)


async def test_a_client_side_refusal_costs_one_datum_only(stub, publisher):
    broken = Datum(
        metric=CLOUDWATCH_QUEUE_DEPTH,
        at_s=NOW_S,
        values=(7.0,),
        counts=(1,),
        dimensions=(("Queue", ""),),  # botocore itself wants at least one character
    )
    publisher.offer([*numbered(1, 2), broken, *numbered(3)])

    result = await publisher.flush()

    assert stub.taken == [1, 2, 3]
    assert result.dropped == {"refused": 1}


async def test_when_everything_is_refused_a_flush_ends_all_the_same(stub, publisher):
    stub.answer = lambda values: BAD
    publisher.offer(numbered(*range(1000)))

    result = await publisher.flush()

    assert result.requests <= 201
    assert result.trouble is not None
    assert result.dropped["refused"] + result.waiting == 1000


@pytest.mark.parametrize("fault", [THROTTLED, DENIED, DOWN, (503, "ServiceUnavailable")])
async def test_trouble_that_is_not_the_data_s_fault_loses_nothing(stub, publisher, time_, fault):
    stub.answer = lambda values: fault
    publisher.offer(numbered(1, 2, 3))
    with capture_logs() as logs:
        failed = await publisher.flush()
    assert (failed.sent, failed.waiting, failed.dropped) == (0, 3, {})
    assert fault[1] in failed.trouble
    assert logs[0]["event"] == "publish_failed"

    stub.answer = lambda values: OK
    time_.at_s += failed.retry_after_s
    recovered = await publisher.flush()

    assert stub.taken == [1, 2, 3]
    assert (recovered.sent, recovered.waiting, recovered.repeated) == (3, 0, 0)
    assert recovered.trouble is None


async def test_it_backs_off_further_with_each_failure(stub, publisher, time_):
    stub.answer = lambda values: THROTTLED
    publisher.offer(numbered(1))

    waits_s = []
    for _ in range(9):
        result = await publisher.flush()
        waits_s.append(result.retry_after_s)
        time_.at_s += result.retry_after_s - 0.001
        early = await publisher.flush()
        assert early.requests == 0
        assert early.trouble == result.trouble
        time_.at_s += 0.001

    assert waits_s == [5, 10, 20, 40, 80, 160, 300, 300, 300]
    assert len(stub.requests) == 9


async def test_a_clock_that_is_set_back_does_not_hold_the_data_back(stub, publisher, time_):
    stub.answer = lambda values: DOWN
    publisher.offer(numbered(1))
    assert (await publisher.flush()).retry_after_s > 0
    stub.answer = lambda values: OK
    time_.at_s -= 3600

    assert (await publisher.flush()).sent == 1


async def test_shutdown_tries_once_more_in_spite_of_the_back_off(stub, publisher):
    stub.answer = lambda values: THROTTLED
    publisher.offer(numbered(1))
    await publisher.flush()
    stub.answer = lambda values: OK

    assert (await publisher.flush(force=True)).sent == 1


async def test_an_outage_ends_and_everything_arrives_in_order(stub, publisher, time_):
    stub.answer = lambda values: DOWN
    for minute in range(20):
        publisher.offer([datum(minute, at_s=time_.at_s)])
        result = await publisher.flush()
        time_.at_s += 60
    assert result.waiting == 20
    assert publisher.lag_s == 20 * 60

    stub.answer = lambda values: OK
    time_.at_s += 300
    result = await publisher.flush()

    assert stub.taken == list(range(20))
    assert (result.sent, result.lag_s, publisher.lag_s) == (20, 0.0, 0.0)


async def test_the_middle_of_a_long_queue_is_where_it_goes_on(stub, publisher, time_):
    stub.answer = lambda values: DOWN if 1000 in values else OK
    publisher.offer(numbered(*range(2500)))
    first = await publisher.flush()
    assert (first.sent, first.waiting) == (1000, 1500)

    stub.answer = lambda values: OK
    time_.at_s += first.retry_after_s
    await publisher.flush()

    assert stub.taken == list(range(2500))


async def test_the_buffer_is_bounded_and_the_oldest_go_first(stub, publisher):
    stub.answer = lambda values: DOWN
    publisher.offer(numbered(*range(2000)))
    publisher.offer(numbered(*range(2000, 4000)))
    assert publisher.waiting == 3000

    result = await publisher.flush()
    assert result.dropped == {"overflow": 1000}

    stub.answer = lambda values: OK
    await publisher.flush(force=True)
    assert stub.taken == list(range(1000, 4000))


async def test_what_is_offered_during_a_flush_is_neither_lost_nor_sent_twice(stub, publisher):
    def answer(values):
        loop.call_soon_threadsafe(publisher.offer, numbered(*range(3000, 4500)))
        stub.answer = lambda values: OK
        return OK

    loop = asyncio.get_running_loop()
    stub.answer = answer
    publisher.offer(numbered(*range(3000)))

    first = await publisher.flush()
    second = await publisher.flush()

    # The newcomers pushed out the 1500 oldest while the first 1000 of these were on their way:
    # those count as dropped although they arrived, and the other 500 are not sent any more.
    assert stub.taken == [*range(1000), *range(1500, 4500)]
    assert first.dropped == {"overflow": 1500}
    assert (first.sent, second.sent, second.dropped) == (1500, 1500, {})


async def test_a_timeout_may_have_been_a_delivery(stub, threads, time_):
    host, port = stub.server.server_address
    client = cloudwatch(f"http://{host}:{port}", Config(read_timeout=0.2))
    publisher = CloudWatchPublisher(client, threads, namespace="Ascension", now=time_)
    stub.answer = lambda values: SILENT
    publisher.offer(numbered(1))

    first, second = await publisher.flush(), await publisher.flush(force=True)

    assert "ReadTimeoutError" in first.trouble
    assert (first.sent, first.waiting, first.repeated) == (0, 1, 0)
    assert (second.sent, second.waiting, second.repeated) == (0, 1, 1)
    assert stub.taken == [1, 1]
    stub.release.set()
    client.close()


async def test_a_request_without_an_answer_is_sent_again_and_counted(stub, publisher, time_):
    stub.answer = lambda values: HUNG_UP
    publisher.offer(numbered(1, 2, 3))
    silent = await publisher.flush()
    assert (silent.sent, silent.waiting, silent.repeated) == (0, 3, 0)
    assert "ConnectionClosedError" in silent.trouble

    stub.answer = lambda values: OK
    publisher.offer(numbered(4))
    time_.at_s += silent.retry_after_s
    again = await publisher.flush()

    assert stub.taken == [1, 2, 3, 1, 2, 3, 4]
    assert (again.sent, again.repeated) == (4, 3)


async def test_a_repeat_counts_once_however_it_is_cut(stub, publisher):
    stub.answer = lambda values: HUNG_UP
    publisher.offer(numbered(*range(8)))
    await publisher.flush()
    stub.answer = lambda values: BAD if 5 in values else OK

    again = await publisher.flush(force=True)

    assert (again.sent, again.repeated, again.dropped) == (7, 8, {"refused": 1})


async def test_at_most_one_batch_is_repeated(stub, publisher, time_):
    stub.answer = lambda values: HUNG_UP if 1500 in values else OK
    publisher.offer(numbered(*range(2500)))
    silent = await publisher.flush()
    stub.answer = lambda values: OK
    time_.at_s += silent.retry_after_s
    again = await publisher.flush()

    assert sorted(stub.taken) == sorted([*range(2500), *range(1000, 2000)])
    assert (silent.sent, again.sent, again.repeated) == (1000, 1500, 1000)


async def test_an_answer_that_comes_late_is_still_an_answer(stub, threads, time_):
    """Our own timeout is shorter than the client's here: the thread goes on without us."""
    host, port = stub.server.server_address
    client = cloudwatch(f"http://{host}:{port}")
    publisher = CloudWatchPublisher(
        client, threads, namespace="Ascension", now=time_, timeout_s=0.1
    )
    arrived = threading.Event()

    def answer_late(values):
        arrived.set()
        stub.release.wait(10)
        return OK

    stub.answer = answer_late
    publisher.offer(numbered(1, 2, 3))
    silent = await publisher.flush()
    assert silent.trouble == "no answer within 0.1 s"
    assert arrived.is_set()
    still = await publisher.flush(force=True)
    assert still.trouble == "the request before has not ended yet"
    assert (still.requests, still.waiting) == (0, 3)

    stub.release.set()
    threads.submit(int).result()  # the only thread is free again
    late = await publisher.flush(force=True)

    assert stub.taken == [1, 2, 3]
    assert (late.sent, late.repeated, late.requests, late.waiting) == (3, 0, 0, 0)
    client.close()


async def test_a_late_refusal_means_that_nothing_arrived_and_nothing_is_repeated(
    stub, threads, time_
):
    host, port = stub.server.server_address
    client = cloudwatch(f"http://{host}:{port}")
    publisher = CloudWatchPublisher(
        client, threads, namespace="Ascension", now=time_, timeout_s=0.1
    )

    def refuse_late(values):
        stub.release.wait(10)
        stub.answer = lambda values: OK
        return THROTTLED

    stub.answer = refuse_late
    publisher.offer(numbered(1, 2, 3))
    await publisher.flush()
    stub.release.set()
    threads.submit(int).result()

    late = await publisher.flush(force=True)

    assert stub.taken == [1, 2, 3]
    assert (late.sent, late.repeated) == (3, 0)
    client.close()


async def test_a_cancelled_flush_is_settled_by_the_next_one(stub, publisher):
    arrived = threading.Event()

    def answer_slowly(values):
        arrived.set()
        stub.release.wait(0.2)
        return OK

    stub.answer = answer_slowly
    publisher.offer(numbered(1, 2))
    flush = asyncio.create_task(publisher.flush())
    await asyncio.to_thread(arrived.wait)
    flush.cancel()
    with pytest.raises(asyncio.CancelledError):
        await flush

    stub.release.set()
    result = await publisher.flush(force=True)

    assert stub.taken == [1, 2]
    assert (result.sent, result.repeated, result.waiting) == (2, 0, 0)


async def test_two_flushes_at_once_send_nothing_twice(stub, publisher):
    publisher.offer(numbered(*range(100)))

    results = await asyncio.gather(publisher.flush(), publisher.flush())

    assert stub.taken == list(range(100))
    assert sum(result.sent for result in results) == 100


async def test_nobody_listens_and_nothing_is_lost(threads, time_, stub):
    stub.stop()
    host, port = stub.server.server_address
    client = cloudwatch(f"http://{host}:{port}")
    publisher = CloudWatchPublisher(client, threads, namespace="Ascension", now=time_)
    publisher.offer(numbered(1))

    result = await publisher.flush()

    assert "EndpointConnectionError" in result.trouble
    assert result.waiting == 1
    client.close()


async def test_data_that_grow_too_old_while_they_wait_are_dropped_and_counted(
    stub, publisher, time_
):
    stub.answer = lambda values: DOWN
    publisher.offer(numbered(1))
    await publisher.flush()
    time_.at_s += 15 * 86_400
    publisher.offer([datum(2, at_s=time_.at_s)])
    stub.answer = lambda values: OK

    result = await publisher.flush()

    assert stub.taken == [2]
    assert result.dropped == {"too_old": 1}


async def test_unusable_data_are_counted_when_they_are_offered(publisher, stub):
    publisher.offer([datum(float("nan")), datum(1, at_s=NOW_S + 10_000), datum(5)])

    result = await publisher.flush()

    assert result.dropped == {"not_a_number": 1, "too_new": 1}
    assert stub.taken == [5]
    assert (await publisher.flush()).dropped == {}


async def test_151_values_are_sent_as_two_data_of_one_request(stub, publisher):
    publisher.offer(
        distribution(CLOUDWATCH_PROCESSING_TIME, [(float(n), 2) for n in range(151)], at_s=NOW_S)
    )

    result = await publisher.flush()

    assert (result.sent, result.requests) == (2, 1)
    assert stub.taken == list(range(151))


async def test_no_data_no_request(stub, publisher):
    result = await publisher.flush()

    assert (result.requests, result.trouble, stub.requests) == (0, None, [])
