"""The how-to pages name what there is: metrics, labels, ports, users, numbers, files, a queue type.

Method: what a page names is taken from it and looked up in the code; what a page shows as code is
run, the queue type against a real server.
"""

import re
from typing import get_args

import pytest
import redis
import yaml
from page_examples import DOCS
from pydantic import BaseModel
from servers import RedisServer

from metrics import catalog
from metrics.queues.poll import QueuePoller
from metrics.redis_client import RedisSettings, connect
from policies.registry import available
from scaler.compose import adapters
from scaler.config import schema, values
from scaler.loop import daemon
from scaler.model.change import OutcomeKind
from scaler.model.decision import Direction, Guardrail
from scaler.model.readings import Missing, QueueSample

ROOT = DOCS.parent
PROMETHEUS = (DOCS / "howto/watch-with-prometheus.md").read_text()
CONTAINER = (DOCS / "howto/run-as-a-container.md").read_text()
RELOAD = (DOCS / "howto/reload-configuration.md").read_text()
QUEUE_TYPE = (DOCS / "howto/add-a-queue-type.md").read_text()
OWN_QUEUE = (DOCS / "howto/scale-your-own-queue.md").read_text()
DOCKERFILE = (ROOT / "Dockerfile").read_text()
METRICS = {metric.name: metric for metric in catalog.PROMETHEUS}
PAGES = sorted(DOCS.rglob("*.md"))


def block(page: str, info: str) -> str:
    found = re.search(rf"^```{info}\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    assert found, f"no block {info}"
    return found[1]


# Prometheus


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_metric_that_a_page_names_exists(page):
    named = set(re.findall(r"\bascension_scaler_\w+", page.read_text()))
    known = set(METRICS)
    for metric in catalog.PROMETHEUS:
        if metric.kind == "histogram":
            known |= {f"{metric.name}_{part}" for part in ("bucket", "sum", "count")}

    assert named <= known


def expressions() -> list[str]:
    queries = re.findall(r"^```promql\n(.*?)^```", PROMETHEUS, re.DOTALL | re.MULTILINE)
    rules = re.findall(r"^ +expr: (.+)$", PROMETHEUS, re.MULTILINE)
    return [*"".join(queries).splitlines(), *rules]


@pytest.mark.parametrize("expression", expressions())
def test_a_query_uses_only_labels_and_values_that_there_are(expression: str):
    used = [METRICS[n.removesuffix("_bucket")] for n in re.findall(r"ascension_\w+", expression)]
    grouped = set(", ".join(re.findall(r"by \(([^)]*)\)", expression)).split(", ")) - {""}
    labels = {label for metric in used for label in metric.labels}
    if any(metric.kind == "histogram" for metric in used):
        labels.add("le")
    values_of = {
        "outcome": get_args(OutcomeKind),
        "direction": get_args(Direction),
        "guardrail": get_args(Guardrail),
    }

    assert used
    assert expression.count("(") == expression.count(")")
    assert grouped <= labels
    for label, value in re.findall(r'(\w+)=~?"([^"]*)"', expression):
        assert label in labels
        if label in values_of:
            assert set(value.split("|")) <= set(values_of[label])


def test_counters_are_asked_for_their_increase():
    for expression in expressions():
        for name in re.findall(r"ascension_\w+_total", expression):
            assert re.search(rf"(increase|rate)\({name}", expression)


def test_the_rules_and_the_scrape_configuration_are_yaml_of_the_right_shape():
    scrape, rules = (
        yaml.safe_load(text)
        for text in re.findall(
            r"^```yaml prometheus\n(.*?)^```", PROMETHEUS, re.MULTILINE | re.DOTALL
        )
    )
    (target,) = scrape["scrape_configs"][0]["static_configs"][0]["targets"]

    assert target == str(schema.Http().listen)
    assert all({"alert", "expr"} <= set(rule) for rule in rules["groups"][0]["rules"])


# container


def test_the_container_page_agrees_with_the_dockerfile():
    directory = re.search(r"ASCENSION_CONFIG=(\S+)", DOCKERFILE)
    user = re.search(r"^USER (\d+):", DOCKERFILE, re.MULTILINE)
    port = re.search(r"^EXPOSE (\d+)$", DOCKERFILE, re.MULTILINE)
    assert directory
    assert user
    assert port

    assert f":{directory[1]}/my.yaml:ro" in CONTAINER
    assert f"user {user[1]}" in CONTAINER
    assert f"-p 127.0.0.1:{port[1]}:{port[1]}" in CONTAINER
    assert port[1] == str(schema.Http().listen).rpartition(":")[2]
    assert 'ENTRYPOINT ["ascension-scaler"]\nCMD ["run"]' in DOCKERFILE
    assert "/app/bin/python" in CONTAINER
    assert "COPY --from=build /app /app" in DOCKERFILE


def test_the_time_to_stop_is_longer_than_the_daemon_takes():
    (given_s,) = re.findall(r"--stop-timeout (\d+)", CONTAINER)

    assert daemon.FINISH_S + daemon.FLUSH_S < 10 < int(given_s)
    assert "exits 0 within 10 s" in CONTAINER


# reload


def test_the_reload_page_has_the_numbers_of_the_code():
    assert daemon.WATCH_S == 2.0
    assert "within\ntwo seconds" in RELOAD
    assert f"abandoned after {daemon.FINISH_S:g} s" in RELOAD


# your own queue


def test_the_smallest_configuration_is_the_shipped_one_and_short():
    shown = block(OWN_QUEUE, "yaml")
    shipped = (ROOT / "deploy/config/minimal.yaml").read_text()

    assert shown == shipped.partition("\n")[2], "the editor's header apart"
    assert len(shipped.splitlines()) <= 15


# a queue type


@pytest.fixture
async def set_poller(redis_server: RedisServer):
    names: dict[str, object] = {}
    exec(compile(block(QUEUE_TYPE, "python queue"), "add-a-queue-type.md", "exec"), names)
    client = connect(RedisSettings(url=redis_server.url))
    source = names["SetQueue"](name="jobs", key="jobs")  # type: ignore[operator]
    poller = QueuePoller(client, [source], timeout_s=2.0)
    yield poller
    await poller.close()
    await client.aclose()


async def test_the_page_s_queue_type_reads_a_real_set(set_poller, redis_server: RedisServer):
    with redis.Redis(port=redis_server.port) as client:
        client.sadd("jobs", "a", "b", "c")
    reading = (await set_poller.poll())["jobs"]

    assert isinstance(reading, QueueSample)
    assert (reading.waiting, reading.in_flight) == (3, Missing("a set does not tell it"))


async def test_the_page_s_queue_type_is_missing_on_a_wrong_type(
    set_poller, redis_server: RedisServer
):
    with redis.Redis(port=redis_server.port) as client:
        client.lpush("jobs", "a")
    reading = (await set_poller.poll())["jobs"]

    assert isinstance(reading, Missing)
    assert "WRONGTYPE" in reading.reason


def test_the_page_s_section_is_a_section_of_the_configuration():
    names: dict[str, object] = {**vars(values), **vars(schema)}
    exec(compile(block(QUEUE_TYPE, "python section"), "add-a-queue-type.md", "exec"), names)
    section = names["SetQueue"]

    assert isinstance(section, type)
    assert issubclass(section, BaseModel)
    assert section.model_validate({"type": "set", "key": "jobs"}).key == "jobs"  # type: ignore[attr-defined]
    assert all(field.description for field in section.model_fields.values())


def test_the_files_that_the_page_names_exist():
    named = set(re.findall(r"`((?:metrics|scaler|tests|docs)/[\w/.-]+)`", QUEUE_TYPE))
    missing = {name for name in named if not (ROOT / name).exists()}

    assert missing == {"metrics/queues/set.py"}, "the one that the reader writes"
    assert hasattr(adapters, "queue_source")
    assert "case schema.ListQueue():" in (ROOT / "scaler/compose/adapters.py").read_text()
    assert "set" not in available()
