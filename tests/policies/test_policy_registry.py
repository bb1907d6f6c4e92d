"""Policies are found by entry point, built from their configuration, and a bad one is named.

Method: the installed entry points, and hand-made ones that point at classes of this file.
"""

from importlib.metadata import EntryPoint, distributions

import pydantic
import pytest

from policies import registry
from policies.fixed import FixedPolicy
from policies.registry import build_from, discover
from scaler.model.errors import ConfigError
from scaler.model.spec import PolicySpec


class NoParams:
    """Has everything but parameters."""


class HalfPolicy:
    """Has parameters and little else."""

    Params = FixedPolicy.Params

    def recommend(self) -> None:
        """Nothing."""


def entry(name: str, value: str) -> EntryPoint:
    return EntryPoint(name=name, value=value, group=registry.GROUP)


def test_the_four_policies_of_the_house_are_installed_and_load():
    assert set(registry.available()) >= {"fixed", "schedule", "step", "target_tracking"}
    assert not registry.broken()


def test_a_policy_is_built_from_its_configuration_under_its_own_name():
    policy = registry.build(PolicySpec(name="floor", type="fixed", params={"capacity": 4}))

    assert isinstance(policy, FixedPolicy)
    assert (policy.name, policy.capacity) == ("floor", 4)


def test_wrong_parameters_come_back_as_the_models_own_error():
    with pytest.raises(pydantic.ValidationError) as caught:
        registry.build(PolicySpec(name="floor", type="fixed", params={"capacity": -1, "size": 3}))

    assert {error["loc"] for error in caught.value.errors()} == {("capacity",), ("size",)}


def test_an_unknown_type_is_told_what_was_meant_and_what_is_installed():
    with pytest.raises(ConfigError) as caught:
        registry.build(PolicySpec(name="a", type="targettracking"))

    assert "did you mean 'target_tracking'?" in str(caught.value)
    assert "fixed, schedule, step, target_tracking" in str(caught.value)


def test_nothing_is_suggested_for_a_type_that_resembles_none():
    with pytest.raises(ConfigError) as caught:
        registry.build(PolicySpec(name="a", type="zzz"))

    assert "did you mean" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("no_such_module_here:Policy", "ModuleNotFoundError"),
        ("policies.fixed:Absent", "AttributeError"),
        ("test_policy_registry:NoParams", "no Params"),
        ("test_policy_registry:HalfPolicy", "lacks build, signals, hints"),
        ("policies.registry:GROUP", "is no class"),
    ],
)
def test_a_broken_entry_point_is_named_and_breaks_no_other(value: str, reason: str):
    installed = discover([entry("broken", value), entry("fixed", "policies.fixed:FixedPolicy")])

    assert list(installed.policies) == ["fixed"]
    assert reason in installed.broken["broken"]
    with pytest.raises(ConfigError, match="is installed but gives no policy"):
        build_from(installed, PolicySpec(name="a", type="broken"))
    assert build_from(installed, PolicySpec(name="a", type="fixed", params={"capacity": 1}))


def test_a_name_taken_twice_goes_to_one_and_the_other_is_reported():
    installed = discover(
        [entry("fixed", "policies.step:StepPolicy"), entry("fixed", "policies.fixed:FixedPolicy")]
    )

    assert installed.policies == {"fixed": FixedPolicy}
    assert list(installed.broken.values()) == ["the name is taken by policies.fixed:FixedPolicy"]


def test_a_name_of_the_house_cannot_be_taken_by_another_package(tmp_path):
    for package, value in (
        ("aaa", "policies.step:StepPolicy"),
        ("ascension-scaler", "policies.fixed:FixedPolicy"),
    ):
        info = tmp_path / f"{package.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{registry.GROUP}]\nfixed = {value}\n")
    points = [
        point for found in distributions(path=[str(tmp_path)]) for point in found.entry_points
    ]

    installed = discover(points)

    assert installed.policies == {"fixed": FixedPolicy}
    assert list(installed.broken) == ["fixed (aaa)"]


def test_the_same_entry_point_found_twice_is_no_trouble():
    twice = [entry("fixed", "policies.fixed:FixedPolicy")] * 2

    assert not discover(twice).broken


def test_looking_up_is_done_once():
    assert registry.available() is registry.available()
