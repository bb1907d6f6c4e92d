"""The safety net on its page works: AWS takes the commands, silence sets it off, the daemon knows.

Method: the page's two AWS commands are turned into calls by botocore's own service models and sent
to the lab, whose clock runs fast; nobody publishes, as when the daemon is gone.
"""

import re
import shlex
import time
from collections.abc import Iterator

import pytest
from botocore import xform_name
from botocore.model import OperationModel, StructureShape
from page_examples import DOCS

from scaler.lab.control import LabControl
from scaler.lab.server import LabServer
from scaler.lab.settings import LabSettings
from scaler.lab.stack import ENVIRONMENT, GROUP, LabClients, create_group, lab_clients
from scaler.loop.clock import SystemClock
from scaler.targets.aws import AwsCalls, AwsConnections, AwsSettings
from scaler.targets.conflicts import AsgConflicts

PAGE = (DOCS / "howto/keep-the-alarm-as-a-safety-net.md").read_text()
SPEED = 600.0


def commands() -> list[list[str]]:
    """The AWS commands of the page, as words: service, operation, flags."""
    (block,) = re.findall(r"^```sh\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    joined = block.replace("\\\n", " ")
    found = re.findall(r"aws ((?:\"[^\"]*\"|[^\n()])+)", joined)
    return [shlex.split(text) for text in found]


def called(clients: LabClients, words: list[str], *, arn: str) -> dict[str, object]:
    """The call that a command of the AWS command line makes."""
    service, operation, *flags = words
    client = getattr(clients, service)
    name = client.meta.method_to_api_mapping[operation.replace("-", "_")]
    model: OperationModel = client.meta.service_model.operation_model(name)
    shape = model.input_shape
    assert isinstance(shape, StructureShape)
    members = {f"--{xform_name(member, '-')}": member for member in shape.members}
    request: dict[str, object] = {}
    for flag, value in zip(flags[::2], flags[1::2], strict=True):
        if flag in ("--query", "--output"):
            continue
        kind = shape.members[members[flag]].type_name
        text = value.replace("$POLICY_ARN", arn)
        numbers = {"integer": int, "double": float}
        typed = numbers[kind](text) if kind in numbers else text
        request[members[flag]] = [typed] if kind == "list" else typed
    answer: dict[str, object] = getattr(client, operation.replace("-", "_"))(**request)
    return answer


@pytest.fixture
def lab() -> Iterator[LabServer]:
    real_s = time.time()
    clock = SystemClock(speed=SPEED, real_s=real_s, virtual_s=real_s)
    with LabServer(clock, settings=LabSettings(boot_s=60)) as server:
        yield server


def test_the_commands_make_a_net_that_catches_a_silent_daemon(lab: LabServer):
    clients, control = lab_clients(lab.url), LabControl(lab.url)
    create_group(clients, GROUP, low=2, high=10, desired=2)
    policy, alarm = commands()
    arn = str(called(clients, policy, arn="")["PolicyARN"])
    called(clients, alarm, arn=arn)

    control.wait_until(lambda: control.group(GROUP).desired >= 4, what="two workers more")
    assert control.group(GROUP).desired % 2 == 0


async def test_the_daemon_warns_about_it_unless_it_is_named(
    lab: LabServer, monkeypatch: pytest.MonkeyPatch
):
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    clients = lab_clients(lab.url)
    create_group(clients, GROUP, low=2, high=10, desired=2)
    called(clients, commands()[0], arn="")
    settings = AwsSettings(region="us-east-1", endpoint_url=lab.url)
    connections = AwsConnections(settings)
    calls = AwsCalls("gpu-workers", settings=settings)
    (named,) = re.findall(r"safety_net_policy: (\S+)", PAGE)

    async def conflicts(net: str | None) -> list[str]:
        finder = AsgConflicts(
            GROUP, clients=connections.autoscaling(), calls=calls, safety_net_policy=net
        )
        found = await finder.find_conflicts()
        assert isinstance(found, tuple)
        return [conflict.name for conflict in found]

    try:
        assert await conflicts(None) == ["safety-net"]
        assert await conflicts(named) == []
    finally:
        calls.close()
