"""No password leaves the process: not by the log, not over HTTP, not by a command or an error.

Method: a server that requires a password, which stands in the URL, in a variable of its own and in
one that nothing reads. The daemon lives through what usually leaks: a refused login, a server that
is away, a bad reload. Then everything that it ever said is searched for each secret.
"""

import signal

import redis
from daemon_rig import RunningDaemon, Stage, eventually, fleet, jobs, run_command

from scaler.lab.stack import create_group

URL_SECRET = "canary-in-the-url"
OTHER_SECRET = "canary-beside-it"
AWS_SECRET = "canary+of/aws"
PAGES = (
    "/metrics",
    "/healthz",
    "/readyz",
    "/api/v1/status",
    "/api/v1/fleets/gpu/decisions",
    "/api/v1/fleets/gpu/explain",
    "/api/v1/fleets/nobody/explain",
)


def test_no_secret_is_ever_said(make_stage, own_redis):
    stage: Stage = make_stage(redis=own_redis)
    create_group(stage.clients, "gpu", low=2, high=10, desired=2)
    with stage.client() as client:
        client.config_set("requirepass", URL_SECRET)
    environ = {
        "REDIS_URL": f"redis://:{URL_SECRET}@127.0.0.1:{own_redis.port}/0",
        "OTHER_PASSWORD": OTHER_SECRET,
        "AWS_SECRET_ACCESS_KEY": AWS_SECRET,
    }
    config = stage.config(redis={"url": "${REDIS_URL}"}, fleets={"gpu": fleet("gpu")})
    daemon = stage.daemon(config, environ=environ).until_ready()
    with redis.Redis(port=own_redis.port, password=URL_SECRET) as client:
        client.lpush("videos", *jobs(20))
    stage.until_desired("gpu", 4)
    said = [everything(daemon)]

    own_redis.stop()
    daemon.until_decided(lambda d: d["frozen"], what="Redis is away")
    said.append(everything(daemon))
    own_redis.start()  # without a password now: the login is refused
    eventually(lambda: "AUTH" in daemon.check("queue.videos")["reason"], what="it is refused")
    said.append(everything(daemon))
    for bad in bad_configs(config):
        before = len(daemon.events("reload_failed"))
        daemon.configure(bad)
        daemon.signal(signal.SIGHUP)
        eventually(
            lambda b=before: len(daemon.events("reload_failed")) > b, what="the reload is refused"
        )
        said.append(pages(daemon))
        said.append(daemon.command("healthcheck", "--ready").stderr)
        checked = run_command("validate", str(daemon.config_file), environ=daemon.environ)
        said.append(checked.stdout + checked.stderr)
        assert checked.returncode == 2
    assert daemon.stop() == 0

    said.append(daemon.log_text())
    assert "fleet_taken_up" in daemon.log_text()
    for secret in (URL_SECRET, OTHER_SECRET, AWS_SECRET):
        for text in said:
            assert secret not in text


def bad_configs(config: dict[str, object]) -> list[dict[str, object]]:
    """Errors right beside a secret, and in it."""
    return [
        {**config, "redis": {"url": f"http://:{OTHER_SECRET}@nowhere"}},
        {**config, "redis": {"url": "${REDIS_URL}", "password": [OTHER_SECRET]}},
        {**config, "redis": {"url": "${REDIS_URL}", "timeout": "${OTHER_PASSWORD}"}},
        {**config, "redis": {"url": "${REDIS_URL}", "pasword": OTHER_SECRET}},
        {**config, "sentry": {"dsn": f"https://{OTHER_SECRET}@nowhere/1", "more": 1}},
    ]


def pages(daemon: RunningDaemon) -> str:
    """All that it answers over HTTP."""
    return "\n".join(daemon.ask(page)[1].decode() for page in PAGES)


def everything(daemon: RunningDaemon) -> str:
    """All that can be asked of it."""
    commands = [
        daemon.command("status"),
        daemon.command("status", "--json"),
        daemon.command("explain", "gpu", "--json"),
        daemon.command("healthcheck", "--ready"),
    ]
    return "\n".join([pages(daemon), *(one.stdout + one.stderr for one in commands)])
