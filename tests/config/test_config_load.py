"""Files become one configuration: types, durations, variables, several files.

Method: small texts through `load`, the only way in; the property tests draw durations, variables
and whole files.
"""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from scaler.config.load import load
from scaler.config.report import ConfigProblems
from scaler.config.schema import AsgTarget, ListQueue
from scaler.config.tree import read
from scaler.model.units import format_duration


def test_the_smallest_file_has_the_documented_defaults(loaded, good):
    config = loaded(good).config

    assert (config.loop.tick_s, config.loop.poll_s, config.loop.stale_after_s) == (10, 2, 60)
    assert (config.loop.describe_s, config.loop.debounce_s) == (10, 1)
    assert (config.publish.interval_s, config.publish.namespace) == (60, "Ascension")
    assert (config.publish.cloudwatch, config.publish.totals) == (True, True)
    assert (config.http.listen.host, config.http.listen.port) == ("127.0.0.1", 9108)
    assert (config.redis.connect_timeout_s, config.redis.timeout_s) == (2, 2)
    assert (config.aws.connect_timeout_s, config.aws.read_timeout_s) == (2, 5)
    assert (config.state.store, config.decisions.keep) == ("redis", 8640)
    assert (config.reports.stream, config.reports.window_s) == ("ascension:reports", 300)
    assert config.environment == "production"
    fleet = config.fleets["gpu"]
    assert (fleet.scale_in, fleet.combine, fleet.dry_run) == ("hold", "max", False)
    assert (fleet.boot_time_s, fleet.stale_after_s, fleet.fallback) == (180, None, None)
    assert isinstance(fleet.target, AsgTarget)
    queue = config.queues["videos"]
    assert isinstance(queue, ListQueue)
    assert (queue.oldest, queue.enqueued_at) == ("none", "enqueued_at")


@given(millis=st.integers(1, 10**9))
def test_a_duration_is_read_as_it_is_written(millis):
    seconds = millis / 1000
    text = f"version: 1\nreports: {{window: {format_duration(seconds)}}}"

    value = read(text, file="x", environ={}).data["reports"]

    assert value == {"window": format_duration(seconds)}


@pytest.mark.parametrize(("written", "seconds"), [("60s", 60), ("5m", 300), ("1h30m", 5400)])
def test_durations_become_seconds(loaded, good, written, seconds):
    assert loaded(good + f"loop: {{tick: {written}}}").config.loop.tick_s == seconds


def test_an_ipv6_address_listens_in_brackets(loaded, good):
    listen = loaded(good + "http: {listen: '[::1]:0'}").config.http.listen

    assert (listen.host, listen.port, str(listen)) == ("::1", 0, "[::1]:0")


def test_an_unquoted_variable_has_the_type_of_its_text(loaded, good):
    text = good.replace("{min: 2, max: 10}", "\n      min: ${MIN}\n      max: ${MAX:-7}")

    bounds = loaded(text, environ={"MIN": "3"}).config.fleets["gpu"].bounds

    assert (bounds.min, bounds.max) == (3, 7)


def test_a_quoted_variable_stays_text_and_the_message_says_so(refused, good):
    (problem,) = refused(good.replace("min: 2", 'min: "${MIN}"'), environ={"MIN": "3"})

    assert problem.path == "fleets.gpu.bounds.min"
    assert problem.value == "${MIN}"
    assert "leave the quotes out" in problem.right


def test_a_default_serves_an_empty_variable_and_an_escape_is_plain_text(loaded, good):
    text = good.replace("name: gpu-workers", 'name: "${NAME:-a}-$${b}"')

    target = loaded(text, environ={"NAME": ""}).config.fleets["gpu"].target

    assert target.name == "a-${b}"


def test_an_unset_variable_is_named_with_its_place(refused, good):
    (problem,) = refused(good.replace("max: 10", 'max: "${MAXIMUM}"'))

    assert str(problem) == (
        "a.yaml:9:27 fleets.gpu.bounds.max — the environment variable MAXIMUM is not set; "
        "set MAXIMUM, or write ${MAXIMUM:-default}"
    )


def test_a_broken_variable_is_refused(refused, good):
    (problem,) = refused(good.replace("gpu-workers", '"${-x}"'))

    assert "${" in problem.message


@given(text=st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"])))
def test_the_environment_cannot_add_structure(text):
    tree = read("a: ${X}\nb: '${X}'\n", file="x", environ={"X": text})

    assert set(tree.data) == {"a", "b"}
    assert tree.data["b"] == text
    assert not isinstance(tree.data["a"], dict | list)


@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text("abc xyz-:,é'\"#", max_size=12),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text("abcd", min_size=1), inner)
        ),
        max_leaves=12,
    )
)
def test_what_yaml_can_dump_is_read_back_with_a_place_for_each_value(value):
    tree = read(yaml.safe_dump({"root": value}), file="x", environ={})

    assert tree.problems == []
    assert tree.data == {"root": value}

    def places(part, path):
        yield path
        children = part.items() if isinstance(part, dict) else ()
        for key, child in (*children, *(enumerate(part) if isinstance(part, list) else ())):
            yield from places(child, (*path, key))

    assert set(places(value, ("root",))) == set(tree.values)


@pytest.mark.parametrize("text", ["12:30", "2024-01-01", "012345678901", "010"])
def test_times_dates_and_leading_zeros_stay_text(text):
    assert read(f"a: {text}", file="x", environ={}).data == {"a": text}


def test_anchors_and_merge_keys_work_and_own_keys_win(loaded, good):
    text = good.replace("bounds: {min: 2, max: 10}", "bounds: &b {min: 2, max: 10}") + (
        "  more:\n    target: {type: asg, name: more}\n    signals: [videos]\n"
        "    bounds: {<<: *b, max: 20}\n    policies: [{type: target_tracking}]\n"
    )

    bounds = loaded(text).config.fleets["more"].bounds

    assert (bounds.min, bounds.max) == (2, 20)


def test_an_alias_bomb_is_refused(refused):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]

    assert any("repeated too often" in p.message for p in refused("\n".join(lines)))


def test_files_join_by_section_and_by_name(loaded, good):
    more = "version: 1\nqueues:\n  mail: {type: stream, key: mail, group: g}\nloop: {tick: 5s}\n"
    third = "loop: {poll: 1s}\n"

    result = loaded(good, more, third)

    assert list(result.config.queues) == ["videos", "mail"]
    assert (result.config.loop.tick_s, result.config.loop.poll_s) == (5, 1)
    assert [file.name for file in result.files] == ["a.yaml", "b.yaml", "c.yaml"]


def test_a_directory_is_read_in_the_order_of_names(tmp_path, good):
    head, _, tail = good.partition("fleets:")
    (tmp_path / "20-fleets.yml").write_text("fleets:" + tail, encoding="utf-8")
    (tmp_path / "10-base.yaml").write_text(head, encoding="utf-8")
    (tmp_path / "notes.txt").write_text("not: [yaml", encoding="utf-8")

    result = load([tmp_path], {})

    assert [file.name for file in result.files] == ["10-base.yaml", "20-fleets.yml"]


def test_what_two_files_define_is_refused_with_both_places(refused, good):
    again = "queues:\n  videos: {type: list, key: other}\nenvironment: a\n"
    third = "environment: b\n"

    problems = refused(good, again, third)

    assert [str(problem) for problem in problems] == [
        "b.yaml:2:3 queues.videos — is defined already at a.yaml:4:3; keep one of the two",
        "c.yaml:1:1 environment — is defined already at b.yaml:3:1; keep one of the two",
    ]


def test_problems_name_the_file_that_they_are_in(refused, good):
    other = "queues:\n  mail: {type: stream, key: mail}\n"

    (problem,) = refused(good, other)

    assert (problem.file, problem.line, problem.path) == ("b.yaml", 2, "queues.mail.group")


def test_a_key_twice_in_one_map_is_refused(refused, good):
    problems = refused(good + "loop: {tick: 5s, tick: 6s}\nloop: {}\n")

    assert [str(problem) for problem in problems] == [
        "a.yaml:11:18 loop.tick — is defined already at a.yaml:11:8; keep one of the two",
        "a.yaml:12:1 loop — is defined already at a.yaml:11:1; keep one of the two",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"# nothing\n", "is empty"),
        (b"version: 1\nx: \xff\n", "is no UTF-8 text"),
        (b"- a\n", "must be a mapping"),
        (b"version: 1\x07\n", "a character that YAML does not allow"),
        (b"version: 1\n---\nversion: 1\n", "is not YAML"),
        (b"[" * 5000, "is n"),
    ],
)
def test_what_is_no_configuration_file_is_refused_in_words(tmp_path, content, message):
    file = tmp_path / "x.yaml"
    file.write_bytes(content)

    with pytest.raises(ConfigProblems) as caught:
        load([file], {})

    assert message in str(caught.value)


def test_files_and_directories_that_are_not_there_are_all_named(tmp_path):
    with pytest.raises(ConfigProblems) as caught:
        load([tmp_path, Path("/nonexistent/a.yaml"), Path("/nonexistent/b.yaml")], {})

    assert len(caught.value.problems) == 3
    assert "/nonexistent/b.yaml — cannot be read: No such file" in str(caught.value)


@given(st.text(max_size=80))
def test_no_text_makes_reading_raise(text):
    tree = read(text, file="x", environ={})

    assert tree.problems or tree.whole
