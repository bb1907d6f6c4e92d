"""A lab of its own for each test, on a clock that the test moves."""

from collections.abc import Iterator

import boto3
import pytest
from lab_rig import HandClock, Lab

from scaler.lab.control import LabControl
from scaler.lab.server import LabServer
from scaler.lab.stack import lab_clients, lab_session


@pytest.fixture(scope="session")
def aws_session() -> boto3.Session:
    return lab_session()


@pytest.fixture
def lab(aws_session: boto3.Session) -> Iterator[Lab]:
    clock = HandClock()
    with LabServer(clock) as server:
        yield Lab(
            server=server,
            clock=clock,
            clients=lab_clients(server.url, session=aws_session),
            control=LabControl(server.url),
        )
