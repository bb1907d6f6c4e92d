"""Every error at once, in its place, with what would be right.

Method: one change to a configuration that is right, and the line that must come of it; then one
file with everything wrong, where each line of it must be reported.
"""

import re

import pytest

CASES = [
    # (what to replace, with what, how the problem reads)
    ("max: 10", "max: 1", "fleets.gpu.bounds.max: 1 — must be at least bounds.min, which is 2"),
    ("min: 2", "min: -1", "fleets.gpu.bounds.min: -1 — must be at least 0"),
    ("min: 2", "min: true", "fleets.gpu.bounds.min: true — must be a whole number"),
    ("min: 2", "min: 2.5", "fleets.gpu.bounds.min: 2.5 — must be a whole number"),
    ("min: 2", "min: '2'", "fleets.gpu.bounds.min: 2 — must be a whole number; leave the quotes"),
    ("min: 2, ", "", "fleets.gpu.bounds.min — is required; add min: Fewest workers"),
    ("bounds: {min: 2, max: 10}", "bouds: {min: 2, max: 10}", "did you mean bounds?"),
    ("type: list", "type: lsit", "queues.videos.type: lsit — is none of the choices; did you mean"),
    ("type: list, ", "", "queues.videos.type — is required; add type: list|stream|sorted_set"),
    ("signals: [videos]", "signals: [vidoes]", "did you mean videos?"),
    ("signals: [videos]", "signals: []", "fleets.gpu.signals — is empty; write at least 1"),
    ("signals: [videos]", "signals: videos", "fleets.gpu.signals — must be a list"),
    ("signals: [videos]", "signals: [videos, videos]", "signals[1]: videos — is there already"),
    ("target_tracking", "target_trackin", "policies[0].type: target_trackin — is no installed"),
    ("{type: target_tracking}", "{type: target_tracking, targt: 2}", "did you mean target?"),
    ("{type: target_tracking}", "", "fleets.gpu.policies — is empty; write at least 1"),
    ("version: 1", "version: 2", "version: 2 — must be 1; write 1"),
    ("version: 1\n", "", "version — is required; add version: 1"),
    ("redis://127.0.0.1:6379/0", "http://x", "redis.url — is no Redis URL; write redis://host"),
    ("redis://127.0.0.1:6379/0", "redis://x:port", "redis.url — is no Redis URL: its address"),
    ("redis://127.0.0.1:6379/0", "redis://", "redis.url — is a Redis URL without an address"),
    ('6379/0"}', '6379/0", mode: cluster}', "redis.mode: cluster — is not available in this"),
    ('6379/0"}', '6379/0", mode: sentinl}', "did you mean sentinel?"),
    (
        '6379/0"}',
        '6379/0", ca_file: /ca.pem}',
        "redis.ca_file: /ca.pem — is for TLS, and redis.url",
    ),
    ("type: asg, name: gpu-workers", "type: asg, name: 7", "target.name: 7 — must be text; put"),
    ("  gpu:", "  'g p/u':", "fleets.g p/u — is no name; use letters, digits"),
    ("    signals", "    scale_in: drain\n    signals", "drain — is not available in this version"),
    ("    signals", "    scale_in: deregister\n    signals", "is for services behind a load"),
    ("    signals", "    cooldown: 5m\n    signals", "it belongs to behaviour: behaviour: {cool"),
    ("    signals", "    objective: fast\n    signals", "objective: fast — is not an objective;"),
    ("    signals", "    objective: p0 wait <= 1s\n    signals", "cannot be promised"),
    ("    signals", "    objective: p95 wait <= 1\n    signals", "its wait is not a duration"),
    ("    signals", "    boot_time: 60\n    signals", "60 — a duration needs a unit; write 60s"),
    ("    signals", "    boot_time: -1s\n    signals", "boot_time: -1s — is not a duration; write"),
    ("    signals", "    stale_after: 0s\n    signals", "stale_after: 0s — must be longer than 0s"),
    (
        "    signals",
        "    fallback: {capacity: 11}\n    signals",
        "must be at most bounds.max, which",
    ),
    ("    signals", "    dry_run: 1\n    signals", "dry_run: 1 — must be true or false"),
    ("    signals", "    dry_run:\n    signals", "is empty: it must be true or false"),
    (
        "    signals",
        "    behaviour: {rate: {out: [{per: 60s}]}}\n    signals",
        "rate.out[0] — limits nothing: it has neither workers nor percent; write {workers: 4",
    ),
    (
        "    signals",
        "    behaviour: {rate: {in: [{workers: 1, percent: 5, per: 60s}]}}\n    signals",
        "behaviour.rate.in[0] — has both workers and percent",
    ),
    (
        "{type: target_tracking}",
        "{type: fixed, capacity: 3}, {type: fixed, capacity: 4}",
        "policies[1].type: fixed — policies[0] has the name fixed already; add a name",
    ),
    (
        "{type: target_tracking}",
        "{type: step, signal: video, scale_out: {above: 5, steps: [{change: 1}]}}",
        "policies[0].signal: video — is no signal of this fleet; did you mean videos?",
    ),
    (
        "{type: target_tracking}",
        "{type: step, period: 60, scale_out: {above: 5, steps: [{change: 1}]}}",
        "policies[0].period: 60 — has no unit; write it like 60s",
    ),
    (
        "{type: target_tracking}",
        "{type: schedule, timezone: Europe/Berln, entries: [{cron: '0 8 * * *', min: 3}]}",
        "policies[0].timezone: Europe/Berln — is no IANA time zone",
    ),
    (
        "{type: list, key: videos}",
        "{type: list, key: videos, processing_key: videos}",
        "queues.videos.processing_key: videos — must differ from key",
    ),
]
APPENDED = [
    ("publish: {interval: 60}", "publish.interval: 60 — a duration needs a unit; write 60s"),
    ("publish: {namespace: AWS/EC2}", "publish.namespace: AWS/EC2 — is reserved for AWS"),
    ("publish: {namespace: ':x'}", "publish.namespace: :x — is no CloudWatch namespace"),
    ("http: {listen: 9108}", "http.listen: 9108 — is not an address to listen on; write host:port"),
    ("http: {listen: 'a:99999'}", "http.listen: a:99999 — has a port above 65535"),
    ("state: {store: file}", "state.store: file — needs state.directory; add directory:"),
    ("state: {directory: /x}", "state.directory: /x — is for store: file, and the store is redis"),
    ("aws: {endpoint_url: 'localhost:5000'}", "aws.endpoint_url: localhost:5000 — is no HTTP add"),
    ("loop: {tick: .inf}", "loop.tick — is no finite number"),
    ("loop:", "loop — is empty: it must be a map of keys"),
    ("log: {level: !x info}", "log.level — has a tag"),
    ("reports: {window: 30s}", "reports.window: 30s — is shorter than the minutes that reports"),
    ("environment: 'Süd'", "environment: Süd — is no value that a CloudWatch dimension takes"),
    ("environment: ' '", "environment: ' ' — is no value that a CloudWatch dimension takes"),
    ("log: {level: inf}", "log.level: inf — is none of the choices; did you mean info? one of"),
    ("decisions: {keep: 0}", "decisions.keep: 0 — must be at least 1"),
    ("behavior: {}", "behavior — is no key of this section"),
    ("? [a]\n: b", "has a key that is no text"),
]


@pytest.mark.parametrize(("old", "new", "expected"), CASES)
def test_one_mistake_is_one_line_that_says_what_is_right(refused, good, old, new, expected):
    assert old in good

    (problem,) = refused(good.replace(old, new, 1))

    assert expected in str(problem)
    assert re.match(r"a\.yaml:\d+:\d+ ", str(problem))


@pytest.mark.parametrize(("line", "expected"), APPENDED)
def test_mistakes_outside_fleets(refused, good, line, expected):
    (problem,) = refused(good + line + "\n")

    assert expected in str(problem)
    assert problem.line == 11


def test_a_problem_stands_at_the_value_and_an_unknown_key_at_the_key(refused, good):
    text = good.replace("max: 10", "max: 1").replace("    signals", "    signls: 1\n    signals")

    key, value = refused(text)

    assert text.splitlines()[key.line - 1][key.column - 1 :].startswith("signls")
    assert text.splitlines()[value.line - 1][value.column - 1 :].startswith("1}")


def test_two_fleets_cannot_share_a_target(refused, good):
    again = good[good.index("  gpu:") :].replace("gpu:", "more:")

    (problem,) = refused(good + again)

    assert problem.path == "fleets.more.target.name"
    assert "is the target of fleet gpu already" in problem.message


def test_a_dry_run_may_look_at_the_target_of_another_fleet(loaded, good):
    tried = good[good.index("  gpu:") :].replace("gpu:", "tried:") + "    dry_run: true\n"

    assert len(loaded(good + tried).config.fleets) == 2


def test_services_of_one_name_in_two_clusters_are_two_targets(loaded, good):
    ecs = "{type: ecs, cluster: a, service: s}"
    first = good.replace("{type: asg, name: gpu-workers}", ecs)
    again = (
        first[first.index("  gpu:") :].replace("gpu:", "more:").replace("cluster: a", "cluster: b")
    )

    assert len(loaded(first + again).config.fleets) == 2


def test_every_error_of_a_file_is_reported_at_once(refused, good):
    text = good
    for old, new in (
        ("max: 10", "max: 1"),
        ("signals: [videos]", "signals: [vidoes]\n    bot_time: 1m\n    scale_in: deregister"),
        ("type: list", "type: lst"),
        ("{type: target_tracking}", "{type: fixd}, {type: fixed, capacity: x}"),
    ):
        text = text.replace(old, new)
    text += "loop: {tick: 10, pol: 2s}\nlog: {level: inf}\nstate: {store: file, dir: x}\n"

    paths = [problem.path for problem in refused(text)]

    assert paths == [
        "queues.videos.type",
        "fleets.gpu.signals[0]",
        "fleets.gpu.bot_time",
        "fleets.gpu.scale_in",
        "fleets.gpu.bounds.max",
        "fleets.gpu.policies[0].type",
        "fleets.gpu.policies[1].capacity",
        "loop.tick",
        "loop.pol",
        "log.level",
        "state.store",
        "state.dir",
    ]


def test_a_syntax_error_hides_no_other_error(refused, good):
    text = good.replace("{type: list, key: videos}", "{type: list, key: videos").replace(
        "max: 10", "max: 1"
    )
    text += "loop: {tick: [}\nlog: {level: inf}\n"

    problems = refused(text, "queues: {a: {type: lst}}\n")

    assert [(p.file, p.path) for p in problems] == [
        ("a.yaml", ""),
        ("a.yaml", "fleets.gpu.bounds.max"),
        ("a.yaml", ""),
        ("a.yaml", "log.level"),
        ("b.yaml", "queues.a.type"),
    ]
    assert [p.line for p in problems[:4]] == [5, 9, 11, 12]


def test_an_unquoted_variable_in_braces_is_explained(refused, good):
    (problem,) = refused(good.replace('"redis://127.0.0.1:6379/0"', "${REDIS_URL}"))

    assert problem.line == 2
    assert 'quote it: "${NAME}"' in problem.right


@pytest.mark.parametrize("word", ["tick", "poll", "describe", "debounce", "stale_after"])
@pytest.mark.parametrize("spoil", [str.upper, lambda w: w[1:], lambda w: w + "s"])
def test_misspelt_keys_are_recognised(refused, good, word, spoil):
    (problem,) = refused(good + f"loop: {{{spoil(word)}: 10s}}")

    assert problem.right == f"did you mean {word}?"
