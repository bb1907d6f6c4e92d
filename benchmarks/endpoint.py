"""An AWS endpoint that does next to nothing, so that a benchmark measures us and not an emulator.

It answers the calls of one Auto Scaling fleet and CloudWatch's PutMetricData. Groups come into
being when they are asked for and never launch an instance. Each SetDesiredCapacity is written to
stdout, after its answer, with the moment at which its last byte was received:

    GROUP DESIRED MONOTONIC_NS

The monotonic clock is one for all processes of a machine. First line: the port.

    python benchmarks/endpoint.py
"""

import argparse
import asyncio
import ctypes
import signal
import sys
import time
from urllib.parse import parse_qs

MAX_SIZE = 1_000_000
NAMESPACE = "http://autoscaling.amazonaws.com/doc/2011-01-01/"

groups: dict[str, int] = {}
"""Desired capacity by name; this process is one endpoint."""


def group_xml(name: str) -> str:
    """What DescribeAutoScalingGroups says of a group (API reference, AutoScalingGroup)."""
    return (
        f"<member><AutoScalingGroupName>{name}</AutoScalingGroupName><MinSize>0</MinSize>"
        f"<MaxSize>{MAX_SIZE}</MaxSize><DesiredCapacity>{groups.setdefault(name, 0)}"
        "</DesiredCapacity><DefaultCooldown>300</DefaultCooldown><AvailabilityZones/>"
        "<HealthCheckType>EC2</HealthCheckType><CreatedTime>2026-01-01T00:00:00Z</CreatedTime>"
        "<Instances/></member>"
    )


def result_of(action: str, fields: dict[str, list[str]]) -> str:
    """The inside of `…Result`; empty lists for whatever has nothing to tell."""
    if action == "DescribeAutoScalingGroups":
        names = [values[0] for key, values in fields.items() if "Names.member" in key]
        return f"<AutoScalingGroups>{''.join(map(group_xml, names))}</AutoScalingGroups>"
    return {
        "DescribeInstanceRefreshes": "<InstanceRefreshes/>",
        "DescribeScalingActivities": "<Activities/>",
        "DescribePolicies": "<ScalingPolicies/>",
        "DescribeScheduledActions": "<ScheduledUpdateGroupActions/>",
    }.get(action, "")


def query_answer(body: bytes, received_ns: int) -> tuple[bytes, str]:
    """The answer to a call of the query protocol, and what to tell about it."""
    fields = parse_qs(body.decode())
    action = fields.get("Action", ["Unknown"])[0]
    told = ""
    if action == "SetDesiredCapacity":
        name, desired = fields["AutoScalingGroupName"][0], int(fields["DesiredCapacity"][0])
        groups[name] = desired
        told = f"{name} {desired} {received_ns}"
    xml = (
        f'<{action}Response xmlns="{NAMESPACE}"><{action}Result>{result_of(action, fields)}'
        f"</{action}Result><ResponseMetadata><RequestId>0</RequestId></ResponseMetadata>"
        f"</{action}Response>"
    ).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: {len(xml)}\r\n\r\n"
    return head.encode() + xml, told


CBOR_EMPTY = (
    b"HTTP/1.1 200 OK\r\nsmithy-protocol: rpc-v2-cbor\r\nContent-Type: application/cbor\r\n"
    b"Content-Length: 1\r\n\r\n\xa0"
)
"""An empty answer of the protocol that newer SDKs speak with CloudWatch (Smithy RPC v2 CBOR)."""
JSON_EMPTY = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.0\r\nContent-Length: 2\r\n\r\n{}"
)


class Connection(asyncio.Protocol):
    """One kept-alive HTTP/1.1 connection; requests come one after another."""

    def __init__(self) -> None:
        self._buffer = b""
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        received_ns = time.monotonic_ns()
        self._buffer += data
        while (request := self._next_request()) is not None:
            self._answer(*request, received_ns)

    def _next_request(self) -> tuple[bytes, bytes] | None:
        """Head (in lower case) and body of the next complete request."""
        head, blank_line, rest = self._buffer.partition(b"\r\n\r\n")
        if not blank_line:
            return None
        head = head.lower()
        _, _, tail = head.partition(b"content-length:")
        length = int(tail.partition(b"\r\n")[0] or b"0")
        if len(rest) < length:
            return None
        self._buffer = rest[length:]
        return head, rest[:length]

    def _answer(self, head: bytes, body: bytes, received_ns: int) -> None:
        assert self._transport is not None
        told = ""
        if b"rpc-v2-cbor" in head:
            answer = CBOR_EMPTY
        elif b"x-amz-json" in head:
            answer = JSON_EMPTY
        elif b"content-encoding: gzip" in head:
            answer, _ = query_answer(b"Action=PutMetricData", received_ns)
        else:
            answer, told = query_answer(body, received_ns)
        self._transport.write(answer)
        if told:
            print(told, flush=True)


async def serve() -> None:
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def end_with_parent() -> None:
    """On Linux: die with whoever started us (prctl PR_SET_PDEATHSIG), even by SIGKILL."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    end_with_parent()
    asyncio.run(serve())
