"""A process that stands still for a while (SIGSTOP, a paused machine) does nothing on old readings.

Method: a daemon is stopped by SIGSTOP while a scale-in is near; while it stands, jobs come. After
SIGCONT it must look before it writes: the group is asked for more and never for less.
"""

import signal
import time

from daemon_rig import Stage, fleet, jobs

from scaler.lab.stack import create_group

STALE_S = 1.0
STOOD_STILL_S = 3.0


def test_after_a_standstill_it_looks_before_it_writes(stage: Stage):
    group, client = "standstill", stage.client()
    create_group(stage.clients, group, low=2, high=10, desired=8)
    client.delete("videos")
    client.rpush("videos", *jobs(5))
    config = stage.config(
        queues={"videos": {"type": "list", "key": "videos", "processing_key": "videos:running"}},
        loop={"stale_after": f"{STALE_S:g}s"},
        fleets={
            "gpu": fleet(
                group,
                scale_in="unsafe_by_count",
                behaviour={"stabilization": {"in": "3s"}},
            )
        },
    )
    daemon = stage.daemon(config).until_ready()
    daemon.until_decided(
        lambda one: "stabilization" in one["sentence"], what="a scale-in waits for its window"
    )
    daemon.signal(signal.SIGSTOP)
    client.rpush("videos", *jobs(45))
    time.sleep(STOOD_STILL_S)  # the standstill itself
    daemon.signal(signal.SIGCONT)

    stage.until_desired(group, 10)
    assert min(stage.asked_for(group)) == 10
