"""Secrets never leave a configuration by accident.

Method: canaries in each secret field, and in each place where one might be put by mistake; then
every text that errors, values and their JSON give is searched for them.
"""

import json
import pickle
import traceback
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.config.load import load
from scaler.config.report import ConfigProblems, as_json

CANARY = "hunter2canary"


def _everything(error: ConfigProblems) -> str:
    return "\n".join(
        [
            str(error),
            repr(error),
            repr(error.problems),
            json.dumps(as_json(error.problems)),
            "".join(traceback.format_exception(error)),
            repr(error.__context__),
        ]
    )


def test_a_loaded_configuration_shows_no_secret(loaded, good):
    text = good.replace("redis://", f"redis://user:{CANARY}@").replace(
        "url:", f"password: {CANARY}, url:"
    )
    result = loaded(text + f'sentry: {{dsn: "https://{CANARY}@example.com/1"}}')

    config = result.config
    shown = [repr(result), str(config), config.model_dump_json(), repr(config.model_dump())]
    assert not any(CANARY in text for text in shown)
    assert CANARY in config.redis.url.get_secret_value()
    assert config.redis.password is not None
    assert config.redis.password.get_secret_value() == CANARY


MISPLACED = [
    'redis: {url: "CANARY"}',
    'redis: {url: ["CANARY"]}',
    'redis: {url: {password: "CANARY"}}',
    "redis: CANARY",
    'redis: {url: "redis://:CANARY@host:port"}',
    'redis: {url: "redis://:CANARY@host", password: [CANARY]}',
    'redis: {ulr: "redis://:CANARY@host"}',
    'redis: {url: "redis://:CANARY@host", pasword: CANARY}',
    'redis: {url: "redis://:${X:-CANARY}@host:port"}',
    'redis: {url: "redis://h", mode: "redis://:CANARY@h"}',
    'redis: {url: "redis://h", timeout: "redis://u:CANARY@h"}',
    'redis: {url: "${SECRET}", mode: "${SECRET}"}',
    'redis: {url: "${SECRET}", timeout: "${SECRET}"}',
    "redis:\n  url: ${SECRET}\n  connect_timeout: ${SECRET}",
    'redis: {url: "redis://:CANARY@host"} extra',
    'redis: {url: "redis://:CANARY@host}',
    "redis: {url: redis://h, password: *CANARY}",
    "redis: {url: redis://h, password: &CANARY}\nlog: &CANARY {}",
    "redis: {url: redis://h, password: !CANARY x}",
    "redis: {url: redis://h, password: CANARY, password: CANARY}",
    "redis: {url: redis://h, password: %CANARY}",
    "sentry: {dsn: CANARY, dsn2: CANARY}",
    "sentry: CANARY",
    'aws: {endpoint_url: "ftp://u:CANARY@h"}',
    'http: {listen: "${SECRET}"}',
    'publish: {namespace: "${SECRET}:"}',
    'log: {level: "${SECRET}"}',
    'environment: ["${SECRET}"]',
]
IN_A_FLEET = [
    'objective: "${SECRET}"',
    'objective: "p95 wait <= ${SECRET}"',
    'boot_time: "${SECRET}"',
    'signals: ["${SECRET}"]',
    'policies: [{type: "${SECRET}"}]',
    'policies: [{type: step, period: "${SECRET}", scale_out: {above: 1, steps: [{change: 1}]}}]',
    'policies: [{type: step, signal: "${SECRET}", scale_out: {above: 1, steps: [{change: 1}]}}]',
    'policies: [{type: schedule, timezone: "${SECRET}", entries: [{cron: "${SECRET}", min: 1}]}]',
    'policies: [{type: fixed, capacity: "${SECRET}"}]',
]


@pytest.mark.parametrize("line", MISPLACED)
def test_no_error_repeats_a_secret(tmp_path, line):
    _refuse(tmp_path, "version: 1\nqueues: {}\n" + line.replace("CANARY", CANARY))


@pytest.mark.parametrize("line", IN_A_FLEET)
def test_no_error_of_a_policy_or_a_fleet_repeats_the_environment(tmp_path, good, line):
    key = line.partition(":")[0]
    kept = [text for text in good.splitlines() if not text.startswith(f"    {key}:")]

    _refuse(tmp_path, "\n".join([*kept, f"    {line}"]))


def _refuse(directory: Path, text: str) -> None:
    file = directory / "x.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigProblems) as caught:
        load([file], {"SECRET": f"redis:{CANARY}"})
    assert CANARY not in _everything(caught.value)


@given(st.text("abcdefXYZ0189:/@?#[]%{}'\" *&!-", min_size=5, max_size=30))
def test_no_redis_url_however_broken_is_repeated(tmp_path_factory, secret):
    directory = tmp_path_factory.mktemp("url")
    file = directory / "x.yaml"
    file.write_text(f"redis: {{url: {json.dumps(secret)}, nonsense: 1}}\n", encoding="utf-8")

    with pytest.raises(ConfigProblems) as caught:
        load([file], {})

    url = [problem for problem in caught.value.problems if problem.path == "redis.url"]
    assert all(problem.value is None and secret not in problem.message for problem in url)


def test_problems_are_plain_values(refused, good):
    (problem,) = refused(good.replace("max: 10", "max: 1"))

    assert pickle.loads(pickle.dumps(problem)) == problem
    assert as_json([problem]) == [
        {
            "file": "a.yaml",
            "line": 9,
            "column": 27,
            "path": "fleets.gpu.bounds.max",
            "value": "1",
            "message": "must be at least bounds.min, which is 2",
            "right": "raise max to 2 or more, or lower min",
        }
    ]
