"""The board keeps the newest reading by our own request order, and ages it on our own clock."""

from builders import capacity, sample, spec_of

from scaler.loop.board import KEEP_S, MAX_POINTS, LiveBoard
from scaler.model.readings import Missing, WorkerStats


class HandClock:
    """A clock that the test sets."""

    at_s = 1000.0

    def now_s(self) -> float:
        return self.at_s

    def wall_s(self) -> float:
        return self.at_s + 7.0


def board() -> LiveBoard:
    return LiveBoard(HandClock())


STATS = WorkerStats(
    window_s=300.0,
    starts=10,
    completions=10,
    in_flight=1,
    processing_mean_s=1.0,
    processing_p95_s=2.0,
    wait_p95_s=3.0,
)


def test_what_was_never_seen_is_missing_with_its_reason():
    snapshot = board().snapshot(spec_of(), at_s=1000.0, since_s=0.0)

    assert snapshot.capacity.value == Missing("not described yet")
    assert snapshot.queues["videos"].latest.value == Missing("not polled yet")


def test_a_reading_ages_from_the_moment_it_was_asked_for():
    live = board()
    live.post_samples({"videos": sample(7)}, asked_at_s=990.0)
    live.post_capacity("gpu", capacity(3), asked_at_s=980.0)

    snapshot = live.snapshot(spec_of(), at_s=1000.0, since_s=0.0)
    assert snapshot.queues["videos"].latest.age_s == 10.0
    assert snapshot.capacity.age_s == 20.0
    assert snapshot.wall_s == 1007.0


def test_an_answer_that_was_overtaken_changes_nothing():
    live = board()
    live.post_samples({"videos": sample(7)}, asked_at_s=990.0)
    live.post_samples({"videos": sample(99)}, asked_at_s=989.0)
    live.post_capacity("gpu", capacity(3), asked_at_s=990.0)
    live.post_capacity("gpu", capacity(9), asked_at_s=989.0)

    snapshot = live.snapshot(spec_of(), at_s=1000.0, since_s=0.0)
    assert snapshot.queues["videos"].latest.value == sample(7)
    assert snapshot.capacity.value == capacity(3)


def test_an_outage_shows_at_once_and_leaves_no_point_behind():
    live = board()
    live.post_samples({"videos": sample(7)}, asked_at_s=990.0)
    live.post_samples({"videos": Missing("connection refused")}, asked_at_s=992.0)

    queue = live.queue("videos", at_s=1000.0, since_s=0.0)
    assert queue.latest.value == Missing("connection refused")
    assert [p.at_s for p in queue.points] == [990.0]


def test_points_are_those_after_the_last_decision_oldest_first():
    live = board()
    for at in (990.0, 992.0, 994.0):
        live.post_samples({"videos": sample(int(at))}, asked_at_s=at)
    assert [p.waiting for p in live.points("videos", since_s=990.0)] == [992, 994]


def test_points_stay_bounded_however_often_and_long_a_queue_is_polled():
    live = board()
    for i in range(3 * MAX_POINTS):
        live.post_samples({"videos": sample(i)}, asked_at_s=i * 0.1)
    assert len(live.points("videos", since_s=-1.0)) <= MAX_POINTS
    for i in range(10):
        live.post_samples({"videos": sample(i)}, asked_at_s=10_000.0 + i * KEEP_S)
    assert len(live.points("videos", since_s=-1.0)) <= 4


def test_settled_since_is_the_first_of_an_unbroken_run():
    live = board()
    live.post_capacity("gpu", capacity(3), asked_at_s=10.0)
    live.post_capacity("gpu", capacity(5, in_service=3, pending=2), asked_at_s=20.0)
    assert live.snapshot(spec_of(), at_s=21.0, since_s=0.0).settled_since_s is None
    live.post_capacity("gpu", capacity(5), asked_at_s=30.0)
    live.post_capacity("gpu", capacity(5), asked_at_s=40.0)
    assert live.snapshot(spec_of(), at_s=41.0, since_s=0.0).settled_since_s == 30.0
    live.post_capacity("gpu", Missing("throttled"), asked_at_s=50.0)
    assert live.snapshot(spec_of(), at_s=51.0, since_s=0.0).settled_since_s is None


def test_a_change_that_was_over_before_we_looked_begins_a_new_run():
    live = board()
    live.post_capacity("gpu", capacity(3), asked_at_s=10.0)
    live.post_capacity("gpu", capacity(5), asked_at_s=20.0)
    assert live.snapshot(spec_of(), at_s=21.0, since_s=0.0).settled_since_s == 20.0


def test_the_depth_at_the_start_of_the_reports_window_is_found_or_missing():
    live = board()
    live.post_samples({"videos": sample(40)}, asked_at_s=650.0)
    live.post_samples({"videos": sample(90)}, asked_at_s=900.0)
    live.post_stats("videos", STATS, at_s=998.0)

    assert live.queue("videos", at_s=1000.0, since_s=0.0).window_start_waiting == 40
    early = live.queue("videos", at_s=940.0, since_s=0.0).window_start_waiting
    assert early == Missing("no poll that far back")


def test_what_configuration_no_longer_names_is_forgotten():
    live = board()
    live.post_samples({"videos": sample(7), "old": sample(1)}, asked_at_s=990.0)
    live.post_capacity("gone", capacity(3), asked_at_s=990.0)
    live.forget(queues=["videos"], fleets=["gpu"])

    assert isinstance(live.queue("old", at_s=1000.0, since_s=0.0).latest.value, Missing)
    assert isinstance(live.capacity("gone", at_s=1000.0).value, Missing)
    assert live.queue("videos", at_s=1000.0, since_s=0.0).latest.value == sample(7)
