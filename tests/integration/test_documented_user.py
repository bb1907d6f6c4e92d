"""The Redis user that the state page names is enough for the whole daemon.

Method: the ACL line is taken out of the page and given to a real server; a daemon logs in as that
user, scales, reads reports and explains; then the server says what it has refused.
"""

import re
import shlex
from pathlib import Path

from daemon_rig import eventually, fleet, jobs

from metrics.worker import Reporter
from scaler.lab.stack import create_group

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "state.md"


def acl_line() -> list[str]:
    found = re.search(r"redis-cli (ACL SETUSER .*?)\n```", PAGE.read_text(), re.DOTALL)
    assert found is not None, "the page names no ACL line"
    return shlex.split(found.group(1).replace("\\\n", " "))


def test_the_documented_user_is_refused_nothing_that_the_daemon_needs(make_stage, own_redis):
    stage = make_stage(redis=own_redis)
    create_group(stage.clients, "gpu", low=2, high=10, desired=2)
    server = stage.client()
    server.execute_command(*acl_line())
    server.config_set("notify-keyspace-events", "Klz")
    server.xgroup_create("clips", "workers", mkstream=True)
    user = {"username": "ascension", "password": "change-me"}
    queues = {
        "videos": {"type": "list", "key": "videos", "oldest": "tail"},
        "clips": {"type": "stream", "key": "clips", "group": "workers"},
        "later": {"type": "sorted_set", "key": "later"},
    }
    fleets = {"gpu": fleet("gpu", "videos", "clips", "later")}
    daemon = stage.daemon(stage.config(redis=user, queues=queues, fleets=fleets)).until_ready()

    with Reporter(own_redis.url) as reporter, reporter.job("videos", job_id="1"):
        pass
    server.lpush("videos", *jobs(20))
    server.xadd("clips", {"n": 1})
    eventually(lambda: stage.desired("gpu") > 2, what="it scales")
    eventually(
        lambda: daemon.metric("ascension_scaler_reports_read_total") == 2, what="it reads reports"
    )

    assert daemon.command("explain", "gpu").returncode == 0
    assert daemon.stop() == 0
    assert server.exists("ascension:scaler:{reports}:cursor")
    assert server.execute_command("ACL", "LOG") == []
