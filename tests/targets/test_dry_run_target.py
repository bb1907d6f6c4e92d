"""A dry run sees the real world and changes nothing.

Method: DryRunTarget around a real AsgTarget on scripted answers that count every call.
"""

import pytest
from scripted_aws import ManualClock, Script, calls_for, group, set_aws_environment, unreached

from scaler.model.change import Change, EndWorkers, SetDesired, SetFloor
from scaler.targets.asg import AsgTarget
from scaler.targets.dry_run import DryRunTarget


@pytest.fixture(autouse=True)
def aws_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    set_aws_environment(monkeypatch)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (SetDesired(current=3, desired=5), "would set desired capacity from 3 to 5"),
        (SetFloor(current=3, desired=5), "would move the floor from 3 to 5"),
        (EndWorkers(current=3, workers=("i-1", "i-2")), "would end i-1, i-2"),
    ],
)
async def test_the_write_is_withheld_and_the_real_target_is_described(
    change: Change, words: str
) -> None:
    connections = unreached()
    clients = connections.autoscaling()
    script = Script(
        clients,
        DescribeAutoScalingGroups=group(3),
        DescribeInstanceRefreshes={"InstanceRefreshes": []},
        DescribeScalingActivities={"Activities": []},
    )
    real = AsgTarget("gpu", clients=clients, calls=calls_for(connections), now=ManualClock())
    dry = DryRunTarget(real)

    outcome = await dry.apply(change)
    calls_of_apply = list(script.calls)

    assert outcome.kind == "withheld"
    assert words in outcome.reason
    assert outcome.starts_cooldown
    assert calls_of_apply == []
    assert await dry.describe() == await real.describe()
