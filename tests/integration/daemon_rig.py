"""What the integration tests stand on: a daemon as a process, beside real servers.

A `Stage` holds a Redis-compatible server, an AWS endpoint that behaves and the daemons of one test.
Whatever they do is watched from outside: by the endpoint's record of calls, by Redis, by HTTP, by
the daemon's log and by its exit code.
"""

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import redis
import yaml
from prometheus_client.parser import text_string_to_metric_families
from servers import RedisServer, free_port

from metrics.catalog import PROMETHEUS
from scaler.lab.control import LabControl, RecordedCall
from scaler.lab.server import LabServer
from scaler.lab.stack import ENVIRONMENT, LabClients
from scaler.loop.clock import CLOCK_VARIABLE, SystemClock

T = TypeVar("T")

COMMAND = Path(sys.executable).with_name("ascension-scaler")
START_S = 1_772_460_000.0
"""2026-03-02T14:00:00Z, a full hour: where the scaled clocks of these tests begin."""

STOP_S = 10.0
"""What the daemon promises: SIGTERM to exit."""

WRITES = ("Put", "Set", "Update", "Register", "Terminate", "Create", "Delete", "Attach", "Detach")
NEVER = "24h"
"""A poll or tick that does not come while a test runs: what happens then was woken by an event."""


def eventually(
    answer: Callable[[], T], *, what: str, timeout_s: float = 20.0, every_s: float = 0.02
) -> T:
    """The first answer that is true; polled with a deadline."""
    deadline_s = time.monotonic() + timeout_s
    while True:
        found = answer()
        if found:
            return found
        if time.monotonic() > deadline_s:
            raise AssertionError(f"gave up waiting until {what}; the last answer was {found!r}")
        time.sleep(every_s)


def fleet(group: str, *signals: str, **changes: object) -> dict[str, object]:
    """A fleet of the Auto Scaling group: five jobs a worker, no window, no cooldown."""
    given: dict[str, object] = {
        "target": {"type": "asg", "name": group},
        "signals": list(signals) or ["videos"],
        "bounds": {"min": 2, "max": 10},
        "policies": [{"type": "target_tracking", "target": 5}],
        "behaviour": {"stabilization": {"out": "0s", "in": "0s"}},
        "boot_time": "1s",
    }
    return {**given, **changes}


def jobs(count: int) -> list[bytes]:
    """Payloads of so many jobs."""
    return [b'{"id": %d}' % number for number in range(count)]


@dataclass(kw_only=True)
class RunningDaemon:
    """One `ascension-scaler run`. Its log goes to a file that a failing test shows."""

    config_file: Path
    log_file: Path
    url: str
    environ: Mapping[str, str]
    arguments: Sequence[str] = ()
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> "RunningDaemon":
        command = [
            *("setpriv", "--pdeathsig", "KILL"),  # outlives nobody, not even a killed pytest
            *(str(COMMAND), "run", "--config", str(self.config_file), *self.arguments),
        ]
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, env=dict(self.environ), cwd=self.log_file.parent
            )
        return self

    def until_healthy(self) -> "RunningDaemon":
        """Until it answers over HTTP at all."""
        eventually(lambda: self._answers("/healthz"), what="the daemon is alive")
        return self

    def until_ready(self) -> "RunningDaemon":
        """Until all is read and each fleet has decided once."""
        eventually(lambda: self._answers("/readyz"), what="the daemon is ready")
        for name in self.status()["fleets"]:
            eventually(lambda n=name: self.decisions(n), what=f"{name} has decided")
        return self

    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self, *, timeout_s: float = STOP_S) -> int:
        """SIGTERM; the exit code. Raises: TimeoutExpired when it takes longer than promised."""
        self.signal(signal.SIGTERM)
        assert self.process is not None
        return self.process.wait(timeout_s)

    def kill(self) -> None:
        """SIGKILL: no last word, no flush."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def configure(self, config: Mapping[str, object] | str) -> None:
        """Put another configuration in the place of the one it read, in one step."""
        text = config if isinstance(config, str) else yaml.safe_dump(dict(config))
        aside = self.config_file.with_suffix(".new")
        aside.write_text(text)
        aside.replace(self.config_file)

    def ask(self, path: str) -> tuple[int, bytes]:
        """Status and body of a GET. Raises: OSError while nothing listens."""
        parts = urlsplit(self.url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=5)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def document(self, path: str) -> Any:
        return json.loads(self.ask(path)[1])

    def status(self) -> dict[str, Any]:
        return self.document("/api/v1/status")

    def decisions(self, name: str = "gpu", *, last: int = 1000) -> list[dict[str, Any]]:
        """Oldest first; empty until there is one."""
        return self.document(f"/api/v1/fleets/{name}/decisions?last={last}").get("decisions", [])

    def last_decision(self, name: str = "gpu") -> dict[str, Any]:
        return self.decisions(name, last=1)[-1]

    def until_decided(
        self, holds: Callable[[dict[str, Any]], bool], *, what: str, name: str = "gpu"
    ) -> dict[str, Any]:
        """The first decision on record that the condition holds for."""
        return eventually(
            lambda: next((one for one in self.decisions(name) if holds(one)), {}), what=what
        )

    def check(self, name: str) -> dict[str, Any]:
        """One line of /readyz."""
        checks = self.document("/readyz")["checks"]
        return next((one for one in checks if one["name"] == name), {})

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples with these labels; 0 where there is none."""
        assert any(name.startswith(known.name) for known in PROMETHEUS), f"no metric {name}"
        page = self.ask("/metrics")[1].decode()
        return sum(
            sample.value
            for family in text_string_to_metric_families(page)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def command(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """One more command of the command line, which asks this daemon."""
        return run_command(*words, "--url", self.url, environ=self.environ)

    def log_text(self) -> str:
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def log_shown(self) -> str:
        """The log for a failing test: of a decision, what it came to."""
        shown = []
        for line in self.log_text().splitlines():
            if line.startswith('{"event":"decision"'):
                event = json.loads(line)
                keys = ("at", "fleet", "wakeup", "current", "desired", "outcome", "sentence")
                line = "decision " + "  ".join(str(event[key]) for key in keys)  # noqa: PLW2901  # shorter
            shown.append(line)
        return "\n".join(shown)

    def events(self, name: str) -> list[dict[str, Any]]:
        """The log's events of this name."""
        lines = (line for line in self.log_text().splitlines() if line.startswith("{"))
        return [event for line in lines if (event := json.loads(line)).get("event") == name]

    def _answers(self, path: str) -> bool:
        assert self.alive(), f"the daemon ended: {self.log_text()[-4000:]}"
        try:
            return self.ask(path)[0] == 200
        except (OSError, http.client.HTTPException):
            return False


def run_command(
    *words: str, environ: Mapping[str, str], timeout_s: float = 30.0
) -> "subprocess.CompletedProcess[str]":
    """`ascension-scaler` with these words."""
    return subprocess.run(
        [str(COMMAND), *words],
        env=dict(environ),
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


@dataclass(kw_only=True)
class Stage:
    """Servers, and the daemons that one test runs on them."""

    directory: Path
    redis: RedisServer
    lab: LabServer
    clients: LabClients
    control: LabControl
    clock: SystemClock
    daemons: list[RunningDaemon] = field(default_factory=list)

    def client(self) -> "redis.Redis":
        """A client of the test's own; Redis names it `test`."""
        return redis.Redis(port=self.redis.port, client_name="test")

    def lasting(self, real_s: float) -> str:
        """A duration of the configuration that lasts so long outside."""
        return f"{real_s * self.clock.speed:g}s"

    def config(self, **sections: object) -> dict[str, object]:
        """A configuration that looks several times a second; sections are merged key by key."""
        base: dict[str, object] = {
            "version": 1,
            "environment": "test",
            "redis": {"url": self.redis.url, "timeout": "1s", "connect_timeout": "1s"},
            "aws": {"region": "us-east-1", "connect_timeout": "1s", "read_timeout": "2s"},
            "queues": {"videos": {"type": "list", "key": "videos"}},
            "loop": {
                "tick": self.lasting(0.2),
                "poll": self.lasting(0.1),
                "describe": self.lasting(0.2),
                "debounce": self.lasting(0.02),
            },
            "publish": {"cloudwatch": False},
            "http": {"listen": f"127.0.0.1:{free_port()}"},
            "log": {"format": "json"},
        }
        for name, section in sections.items():
            before = base.get(name)
            merges = name not in ("queues", "fleets") and isinstance(before, dict)
            base[name] = {**before, **section} if merges else section  # type: ignore[dict-item]
        return base

    def daemon(
        self,
        config: Mapping[str, object],
        *arguments: str,
        endpoint: str | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> RunningDaemon:
        """A daemon of this configuration, started and not waited for."""
        number = len(self.daemons) + 1
        daemon = RunningDaemon(
            config_file=self.directory / f"config{number}.yaml",
            log_file=self.directory / f"daemon{number}.log",
            url=f"http://{config['http']['listen']}",  # type: ignore[index]
            environ={**self.environ(endpoint), **(environ or {})},
            arguments=arguments,
        )
        daemon.configure(config)
        self.daemons.append(daemon)
        return daemon.start()

    def environ(self, endpoint: str | None = None) -> dict[str, str]:
        """The machine's environment without its own AWS and proxies, on the stage's clock."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("AWS_", "ASCENSION_", "REDIS_"))
            and not name.lower().endswith("_proxy")
        }
        scaled = {CLOCK_VARIABLE: self.clock.spelled()} if self.clock.speed != 1 else {}
        return {
            **kept,
            **ENVIRONMENT,
            **scaled,
            "AWS_ENDPOINT_URL": endpoint or self.lab.url,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }

    def desired(self, group: str) -> int:
        return self.control.group(group).desired

    def until_desired(self, group: str, desired: int) -> None:
        eventually(
            lambda: self.desired(group) == desired,
            what=f"{group} is asked for {desired}, it is {self.desired(group)}",
        )

    def asked_for(self, group: str) -> list[int]:
        """Every desired capacity that the endpoint was asked for, in order, refused ones too."""
        return [
            int(str(call.params["DesiredCapacity"]))
            for call in self.control.calls(action="SetDesiredCapacity")
            if call.params["AutoScalingGroupName"] == group
        ]

    def writes(self, *, after: int = 0) -> list[RecordedCall]:
        """Calls that would change something."""
        return [call for call in self.control.calls(after=after) if call.action.startswith(WRITES)]

    def statistics(
        self,
        metric: str,
        *,
        queue: str | None = None,
        namespace: str = "Ascension",
        percentile: str | None = None,
        period_s: int = 86_400,
    ) -> dict[str, float]:
        """Statistics of all that was ever published of a metric; without a queue, of its total."""
        dimensions = [{"Name": "Environment", "Value": "test"}, {"Name": "Queue", "Value": queue}]
        day_s = self.clock.wall_s() // 86_400 * 86_400
        answer = self.clients.cloudwatch.get_metric_statistics(
            Namespace=namespace,
            MetricName=metric,
            Dimensions=dimensions if queue else [],  # type: ignore[arg-type]  # dicts all the same
            StartTime=day_s - 86_400,
            EndTime=day_s + 2 * 86_400,
            Period=period_s,
            **(
                {"ExtendedStatistics": [percentile]}
                if percentile
                else {"Statistics": ["Average", "SampleCount", "Sum", "Minimum", "Maximum"]}
            ),  # type: ignore[arg-type]  # one of the two shapes of this call
        )
        points = answer["Datapoints"]
        if not points:
            return {"SampleCount": 0.0}
        assert len(points) == 1, f"{metric} spans {len(points)} days"
        point = dict(points[0])
        return {**point, **point.get("ExtendedStatistics", {})}  # type: ignore[dict-item]

    def close(self) -> None:
        for daemon in self.daemons:
            daemon.kill()
        self.lab.stop()
