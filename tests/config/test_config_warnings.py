"""What is legal but hurts is a warning in its place; what is fine gives none."""

import pytest

STEP = (
    "{type: step, kind: simple, scale_out: {above: OUT, steps: [{change: 2}]},"
    " scale_in: {at_most: 5, steps: [{change: -1}]}}"
)


def test_a_good_configuration_has_no_warning(loaded, good):
    assert loaded(good).warnings == ()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("publish: {interval: 5m}", "publish.interval: 5m — an alarm with a period of 60s"),
        ("loop: {poll: 30s}", "loop.poll: 30s — 3 polls take longer than stale_after"),
        ("loop: {stale_after: 5s}", "a.yaml:11:21 loop.stale_after: 5s — is shorter than 3 polls"),
    ],
)
def test_the_daemons_rhythm(loaded, good, line, expected):
    (warning,) = loaded(good + line).warnings

    assert expected in str(warning)


def test_no_alarm_can_miss_data_that_are_not_published(loaded, good):
    assert loaded(good + "publish: {cloudwatch: false, interval: 5m}").warnings == ()


@pytest.mark.parametrize(
    ("line", "path"),
    [
        ("behaviour: {cooldown: {out: 60s}}", "fleets.gpu.behaviour.cooldown.out"),
        ("stale_after: 5s", "fleets.gpu.stale_after"),
    ],
)
def test_a_fleets_own_rhythm(loaded, good, line, path):
    (warning,) = loaded(good + f"    {line}\n").warnings

    assert warning.path == path


@pytest.mark.parametrize("line", ["cooldown: {out: 180s}", "cooldown: {in: 1s}", "warmup: 1s"])
def test_a_cooldown_that_outlasts_the_boot_is_fine(loaded, good, line):
    assert loaded(good + f"    behaviour: {{{line}}}\n").warnings == ()


def test_simple_scaling_reads_the_default_cooldown(loaded, good):
    text = good.replace("{type: target_tracking}", STEP.replace("OUT", "50"))
    slow = text + "    boot_time: 10m\n"

    assert loaded(text).warnings == ()
    (warning,) = loaded(slow).warnings
    assert warning.path == "fleets.gpu.behaviour.default_cooldown"
    assert "is shorter than boot_time, which is 10m" in warning.message


def test_thresholds_that_flap_are_a_warning_at_the_threshold(loaded, good):
    text = good.replace("{type: target_tracking}", STEP.replace("OUT", "4"))

    (warning,) = loaded(text).warnings

    assert warning.path == "fleets.gpu.policies[0].scale_out.above"
    assert warning.value == "4"
    assert text.splitlines()[warning.line - 1][warning.column - 1] == "4"
