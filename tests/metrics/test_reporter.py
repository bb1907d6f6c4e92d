"""The worker's side reports every job, and never blocks or breaks the worker.

Method: a real Redis server, stopped and started again where trouble is the point; what arrives is
read from the stream itself. Forks and exits happen in real child processes.
"""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import redis
import redis.asyncio
from redis.exceptions import ConnectionError as RedisConnectionError

from metrics import wire
from metrics.reports import ReportReader
from metrics.worker import Job, Reporter
from scaler.model.readings import WorkerStats

ROOT = Path(__file__).parents[2]
NOW_S = 1_767_225_600.0
HOWTO = (ROOT / "docs" / "howto" / "report-jobs-from-a-worker.md").read_text()
NOBODY = "redis://127.0.0.1:1/0"  # no server listens on port 1


def written(server) -> list[wire.Report]:
    """All reports in the stream, in order."""
    with redis.Redis(port=server.port) as client:
        reports = [wire.decode(fields) for _, fields in client.xrange(wire.REPORTS_STREAM)]
    assert not any(isinstance(report, wire.Malformed) for report in reports), reports
    return reports


def finishes(server) -> list[wire.Finish]:
    return [report for report in written(server) if isinstance(report, wire.Finish)]


def until(condition, *, deadline_s=20.0) -> None:
    end_s = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end_s, "it did not happen in time"
        time.sleep(0.01)


class Ticking:
    """A clock that a test owns."""

    def __init__(self) -> None:
        self.now_s = NOW_S

    def __call__(self) -> float:
        return self.now_s


def test_a_job_is_reported_with_all_that_is_known(redis_server):
    clock = Ticking()
    with Reporter(redis_server.url, worker="w1", host="h1", now=clock) as reporter:
        with reporter.job("videos", job_id="7", enqueued_at=NOW_S - 5):
            clock.now_s += 42.5
        with reporter.job("videos"):
            clock.now_s -= 10  # the wall clock is set back

    mark, finish, unnamed_mark, unnamed_finish = written(redis_server)
    assert mark == wire.StartMark(
        queue="videos",
        job_id="7",
        worker="w1",
        host="h1",
        started_at_s=NOW_S,
        enqueued_at_s=NOW_S - 5,
        reporter=mark.reporter,
        sequence=1,
    )
    assert isinstance(finish, wire.Finish)
    assert (finish.outcome, finish.processing_s, finish.sequence) == ("done", 42.5, 2)
    assert unnamed_mark.job_id == unnamed_finish.job_id != ""
    assert unnamed_finish.processing_s == 0.0
    assert unnamed_finish.enqueued_at_s is None
    assert reporter.dropped == 0


def hand_back_and_stop(job: Job) -> None:
    job.hand_back()
    raise SystemExit


def test_outcomes_follow_what_happens_in_the_block(redis_server):
    with Reporter(redis_server.url) as reporter:
        with pytest.raises(KeyError, match="broken"), reporter.job("videos", "failing"):
            raise KeyError("broken")
        with pytest.raises(SystemExit), reporter.job("videos", "stopped") as job:
            hand_back_and_stop(job)
        with reporter.job("videos", "handed") as job:
            job.hand_back()
        hooked = reporter.job("videos", "hooked")
        hooked.finish()  # not started: nothing to report
        hooked.start()
        hooked.finish("failed")
        hooked.finish("done")

    assert [(report.job_id, report.outcome) for report in finishes(redis_server)] == [
        ("failing", "failed"),
        ("stopped", "handed_back"),
        ("handed", "handed_back"),
        ("hooked", "failed"),
    ]


def test_odd_arguments_never_break_the_worker(redis_server):
    with Reporter(redis_server.url) as reporter:
        for queue, job_id, enqueued_at in (
            ("videos", 17, "yesterday"),
            ("v" * 999, "\ud800", float("nan")),
            ("videos", "", 0),
        ):
            with reporter.job(queue, job_id, enqueued_at):  # type: ignore[arg-type]  # on purpose
                pass

    assert len(finishes(redis_server)) == 3
    assert all(report.enqueued_at_s is None for report in finishes(redis_server))


def test_the_stream_stays_capped(redis_server):
    with Reporter(redis_server.url, maxlen=100) as reporter:
        for _ in range(1_000):
            with reporter.job("videos"):
                pass

    assert 100 <= len(written(redis_server)) < 400


def test_many_threads_share_one_reporter(redis_server):
    def work(name: int) -> None:
        for n in range(200):
            with reporter.job("videos", f"{name}-{n}"):
                pass

    with Reporter(redis_server.url) as reporter:
        threads = [threading.Thread(target=work, args=(name,)) for name in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    reports = written(redis_server)
    assert [report.sequence for report in reports] == list(range(1, 3_201))
    assert len({report.job_id for report in finishes(redis_server)}) == 1_600


def test_reports_leave_by_themselves_within_the_interval(redis_server):
    reporter = Reporter(redis_server.url, flush_interval_s=0.05)
    with reporter.job("videos"):
        pass

    until(lambda: len(finishes(redis_server)) == 1)
    reporter.close()


def test_flush_waits_until_the_reports_are_there(redis_server):
    reporter = Reporter(redis_server.url, flush_interval_s=600.0)
    with reporter.job("videos"):
        pass

    assert reporter.flush(10.0)
    assert len(finishes(redis_server)) == 1
    assert reporter.flush(0.0)  # nothing is left
    reporter.close()


def test_without_redis_the_oldest_reports_are_dropped_and_counted():
    reporter = Reporter(NOBODY, buffer=10, flush_interval_s=600.0)
    for _ in range(20):
        with reporter.job("videos"):
            pass

    assert reporter.dropped == 30
    assert not reporter.flush(0.01)
    reporter.close(0.2)
    assert reporter.dropped == 40
    with reporter.job("videos"):  # closed: dropped, and the worker goes on
        pass
    assert reporter.dropped == 42
    reporter.close()


def test_reports_wait_while_redis_is_away_and_keep_their_order(own_redis):
    reporter = Reporter(own_redis.url, flush_interval_s=0.02)
    with reporter.job("videos", "before"):
        pass
    assert reporter.flush(10)
    own_redis.stop()
    for n in range(5):
        with reporter.job("videos", f"during-{n}"):
            pass
    assert not reporter.flush(0.2)
    own_redis.start()
    with reporter.job("videos", "after"):
        pass

    assert reporter.flush(20)
    assert [report.sequence for report in written(own_redis)] == list(range(1, 15))
    assert reporter.dropped == 0
    reporter.close()


class LosesAnswers(redis.Redis):
    """A client to which the answer of every second transaction is lost after its effect."""

    transactions = 0

    def pipeline(self, transaction=True, shard_hint=None):
        pipe = super().pipeline(transaction, shard_hint)
        execute = pipe.execute

        def lossy(*args, **kwargs):
            answer = execute(*args, **kwargs)
            self.transactions += 1
            if self.transactions % 2:
                raise RedisConnectionError("the connection was reset")
            return answer

        pipe.execute = lossy
        return pipe


async def test_a_batch_whose_answer_was_lost_is_sent_again_and_counts_once(redis_server):
    with LosesAnswers(port=redis_server.port) as client:
        reporter = Reporter(client, flush_interval_s=0.01, now=Ticking())
        for n in range(3):
            with reporter.job("videos", str(n)):
                pass
            assert reporter.flush(20)
        reporter.close()
    assert len(written(redis_server)) == 12

    async with redis.asyncio.Redis(port=redis_server.port) as client:
        reader = ReportReader(client, queues=frozenset({"videos"}))
        await reader.read(NOW_S)
    stats = reader.stats("videos", NOW_S)
    assert isinstance(stats, WorkerStats)
    assert (stats.starts, stats.completions, reader.counters.duplicates) == (3, 3, 6)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_both_sides_of_a_fork_report_under_names_of_their_own(redis_server):
    reporter = Reporter(redis_server.url, flush_interval_s=600.0)
    with reporter.job("videos", "parent-before"):
        pass
    with reporter.job("videos", "across"):
        child = os.fork()
        if child == 0:
            sent = False
            try:
                with reporter.job("videos", "child"):
                    pass
                sent = reporter.flush(10.0)
            finally:
                os._exit(0 if sent else 1)
        _, status = os.waitpid(child, 0)
        assert status == 0
    reporter.close()

    names = {report.job_id: report.reporter for report in finishes(redis_server)}
    assert len(finishes(redis_server)) == 3
    assert names["parent-before"] == names["across"] != names["child"]
    workers = {report.job_id: report.worker for report in finishes(redis_server)}
    assert workers["child"] == workers["across"].rpartition(":")[0] + f":{child}"


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_started_job_that_leaves_its_block_in_a_forked_child_is_the_parents(redis_server):
    reporter = Reporter(redis_server.url, flush_interval_s=600.0)
    job = reporter.job("videos", "once")
    job.start()
    held, forked = threading.Event(), threading.Event()

    def report_meanwhile() -> None:  # a fork copies this thread's lock, held for ever
        with reporter._outbox._lock:
            held.set()
            forked.wait(20)

    meanwhile = threading.Thread(target=report_meanwhile)
    meanwhile.start()
    held.wait(20)
    child = os.fork()
    if child == 0:
        signal.alarm(10)  # a child that hangs is ended
        ended = False
        try:
            job.finish()
            reporter.close(5.0)
            ended = True
        finally:
            os._exit(0 if ended else 1)
    forked.set()
    meanwhile.join()
    _, status = os.waitpid(child, 0)
    assert status == 0
    job.finish()
    reporter.close()

    assert [report.job_id for report in finishes(redis_server)] == ["once"]


def run_python(code: str, url: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"REDIS_URL": url, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


AT_EXIT = """
import os
from metrics.worker import Reporter
reporter = Reporter(os.environ["REDIS_URL"], flush_interval_s=600.0)
with reporter.job("videos", "last"):
    pass
"""


def test_a_process_that_ends_without_closing_has_sent_its_reports(redis_server):
    ended = run_python(AT_EXIT, redis_server.url)

    assert (ended.returncode, ended.stderr) == (0, "")
    assert [report.job_id for report in finishes(redis_server)] == ["last"]


def test_a_process_that_ends_without_redis_ends_all_the_same():
    ended = run_python(AT_EXIT, NOBODY)

    assert ended.returncode == 0
    assert "Traceback" not in ended.stderr


SIGNAL = """
import os, signal
from metrics.worker import Reporter
reporter = Reporter(os.environ["REDIS_URL"])
def stop(*_):
    with reporter.job("videos", "in-handler"):
        pass
    reporter.close(5.0)
    raise SystemExit(7)
signal.signal(signal.SIGALRM, stop)
signal.setitimer(signal.ITIMER_REAL, 0.1)
while True:
    with reporter.job("videos"):
        pass
"""


def test_a_signal_handler_may_report_and_close(redis_server):
    ended = run_python(SIGNAL, redis_server.url)

    assert ended.returncode == 7, ended.stderr
    assert "in-handler" in {report.job_id for report in finishes(redis_server)}


@pytest.mark.timeout(30)
def test_a_report_that_was_interrupted_keeps_nobody_from_reporting_and_closing(redis_server):
    reporter = Reporter(redis_server.url, flush_interval_s=600.0)
    with reporter._outbox._lock:  # where a signal handler may find the main thread
        with reporter.job("videos", "in-handler"):
            pass
        reporter.close(20.0)

    assert [report.job_id for report in finishes(redis_server)] == ["in-handler"]
    assert reporter.dropped == 0


BORDER = """
import sys
import metrics.worker
ours = {"metrics", "scaler", "redis"}
roots = {name.partition(".")[0] for name in sys.modules}
heavy = {"pydantic", "boto3", "structlog", "yaml", "rich", "prometheus_client"} & roots
print(sorted(heavy), sorted(n for n in sys.modules if n.startswith("scaler.")))
"""


def test_a_worker_imports_redis_and_the_standard_library_only():
    ended = run_python(BORDER, NOBODY)

    assert ended.stdout.strip() == "[] []", ended.stderr


@pytest.mark.parametrize("limits", [{"buffer": 0}, {"maxlen": 0}, {"flush_interval_s": 0.0}])
def test_a_limit_that_makes_no_sense_is_refused_at_once(limits):
    with pytest.raises(ValueError, match="above zero"):
        Reporter(NOBODY, **limits)


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", HOWTO, re.DOTALL)


def test_the_python_of_the_howto_reports_jobs(redis_server, monkeypatch):
    monkeypatch.setenv("REDIS_URL", redis_server.url)
    names = {"analyse": lambda _: None, "stopping": lambda: True, "put_back": lambda _: None}
    for block in blocks("python"):
        exec(block, names)
    names["run_in_child"]({"id": "a", "enqueued_at": NOW_S})
    names["work_until_stopped"]({"id": "b", "parts": [1]})
    names["before_job"]("c")
    names["after_job"]("c", succeeded=False)
    names["reporter"].close()

    assert [(report.job_id, report.outcome) for report in finishes(redis_server)] == [
        ("a", "done"),
        ("b", "handed_back"),
        ("c", "failed"),
    ]


REDIS_CLI = f"""#!{sys.executable}
import sys
import redis
assert sys.argv[1] == "-u"
print(redis.Redis.from_url(sys.argv[2]).execute_command(*sys.argv[3:]))
"""


def test_the_shell_of_the_howto_reports_a_job(redis_server, tmp_path):
    for name, text in {"redis-cli": REDIS_CLI, "analyse": "#!/bin/sh\nexit 3\n"}.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    report, look = [block for block in blocks("sh") if "redis-cli" in block]
    ended = subprocess.run(
        ["sh", "-euc", report + look],
        cwd=tmp_path,
        env=os.environ
        | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "REDIS_URL": redis_server.url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ended.returncode == 0, ended.stderr
    assert "finished_at_s" in ended.stdout
    (finish,) = finishes(redis_server)
    assert (finish.queue, finish.job_id, finish.outcome) == ("video-analysis", "42", "failed")
    assert abs(finish.finished_at_s - time.time()) < 60
