"""The endpoint speaks AWS's protocols, leaves to moto what is not its own, and shares nothing.

Method: raw HTTP where a client library would be in the way; boto3 everywhere else.
"""

import gzip
import http.client
import json
from urllib.parse import urlencode

import boto3
from lab_rig import HandClock, Lab, refusal

from scaler.lab.server import LabServer
from scaler.lab.stack import create_group, lab_clients

AUTHORIZATION = "AWS4-HMAC-SHA256 Credential=k/20260302/us-east-1/{}/aws4_request, Signature=0"


def post(lab: Lab, service: str, body: bytes, **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(lab.server.url.removeprefix("http://"), timeout=5)
    wanted = {"Authorization": AUTHORIZATION.format(service)}
    wanted |= {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        connection.request("POST", "/", body=body, headers=wanted)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def test_cloudwatch_answers_the_query_protocol_too(lab: Lab):
    form = {
        "Action": "PutMetricData",
        "Namespace": "Ascension",
        "MetricData.member.1.MetricName": "m",
        "MetricData.member.1.Values.member.1": "1.5",
        "MetricData.member.1.Values.member.2": "2.5",
        "MetricData.member.1.Dimensions.member.1.Name": "Queue",
        "MetricData.member.1.Dimensions.member.1.Value": "videos",
        "MetricData.member.1.Timestamp": "2026-03-02T14:00:00Z",
    }
    kind = {"Content_Type": "application/x-www-form-urlencoded; charset=utf-8"}
    status, _, body = post(lab, "monitoring", urlencode(form).encode(), **kind)
    assert (status, b"<PutMetricDataResponse" in body) == (200, True)

    asked = {
        "Action": "GetMetricStatistics",
        "Namespace": "Ascension",
        "MetricName": "m",
        "Period": "60",
        "StartTime": "2026-03-02T14:00:00Z",
        "EndTime": "2026-03-02T14:10:00Z",
        "Statistics.member.1": "Average",
        "ExtendedStatistics.member.1": "p95",
        "Dimensions.member.1.Name": "Queue",
        "Dimensions.member.1.Value": "videos",
    }
    status, _, body = post(lab, "monitoring", urlencode(asked).encode(), **kind)

    assert status == 200
    assert b"<Average>2.0</Average>" in body
    assert b"<key>p95</key><value>2.5</value>" in body
    assert b"<Timestamp>2026-03-02T14:00:00.000Z</Timestamp>" in body


def test_an_error_carries_its_code_where_each_protocol_looks_for_it(lab: Lab):
    target = "GraniteServiceVersion20100801.PutMetricData"
    status, headers, body = post(
        lab, "monitoring", b'{"Namespace": "AWS/EC2"}', X_Amz_Target=target
    )
    assert status == 400
    assert headers["x-amzn-query-error"] == "InvalidParameterValue;Sender"
    assert json.loads(body)["__type"] == "InvalidParameterValue"

    kind = {"Content_Type": "application/x-www-form-urlencoded"}
    status, _, body = post(lab, "autoscaling", b"Action=SetDesiredCapacity", **kind)
    assert status == 400
    assert b"<Code>ValidationError</Code>" in body


def test_a_packed_body_is_unpacked(lab: Lab):
    data = [{"MetricName": "m", "Value": 1.0}]
    body = gzip.compress(json.dumps({"Namespace": "Ascension", "MetricData": data}).encode())

    status, _, _ = post(
        lab,
        "monitoring",
        body,
        X_Amz_Target="GraniteServiceVersion20100801.PutMetricData",
        Content_Encoding="gzip",
    )

    assert status == 200
    assert [one["MetricName"] for one in lab.clients.cloudwatch.list_metrics()["Metrics"]] == ["m"]


def test_nonsense_is_refused_and_the_endpoint_lives_on(lab: Lab):
    target = "GraniteServiceVersion20100801.PutMetricData"
    kind = {"Content_Type": "application/x-www-form-urlencoded"}
    nonsense = [
        post(lab, "monitoring", b"{", X_Amz_Target=target),
        post(lab, "monitoring", b"[]", X_Amz_Target=target),
        post(lab, "monitoring", b'{"Namespace": 3}', X_Amz_Target=target),
        post(lab, "monitoring", b'{"Namespace": "a", "MetricData": [1]}', X_Amz_Target=target),
        post(lab, "autoscaling", b"Action=SetDesiredCapacity&DesiredCapacity=many", **kind),
        post(lab, "autoscaling", b"Action=SetInstanceProtection&InstanceIds.member.x=1", **kind),
        post(lab, "autoscaling", b"Action=DescribePolicies&A=1&A.B=2", **kind),
    ]

    assert [status for status, _, _ in nonsense] == [400] * len(nonsense)
    assert lab.clients.cloudwatch.list_metrics()["Metrics"] == []


def test_a_connection_is_kept_for_the_next_call(lab: Lab):
    connection = http.client.HTTPConnection(lab.server.url.removeprefix("http://"), timeout=5)
    connection.connect()
    first = connection.sock
    for _ in range(3):
        connection.request("GET", "/lab/state")
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200

    assert connection.sock is first
    connection.close()


def test_moto_answers_what_is_not_ours(lab: Lab):
    sqs = boto3.client(
        "sqs",
        endpoint_url=lab.server.url,
        region_name="us-east-1",
        aws_access_key_id="k",
        aws_secret_access_key="s",
    )
    url = sqs.create_queue(QueueName="q")["QueueUrl"]

    sqs.send_message(QueueUrl=url, MessageBody="hello")

    assert sqs.receive_message(QueueUrl=url)["Messages"][0]["Body"] == "hello"


def test_what_moto_cannot_do_is_an_error_that_a_client_can_read(lab: Lab):
    lab.group(desired=1)
    code, message = refusal(lab.clients.autoscaling.describe_account_limits)

    assert code == "InternalFailure"
    assert "DescribeAccountLimits" in message
    assert refusal(
        lab.clients.autoscaling.detach_instances,
        AutoScalingGroupName="g",
        InstanceIds=lab.ids(),
        ShouldDecrementDesiredCapacity=True,
    )[0] == ("NotImplemented")


def test_labs_and_plain_moto_in_one_process_share_nothing(
    lab: Lab, moto_url: str, aws_session: boto3.Session
):
    with LabServer(HandClock()) as other:
        others = lab_clients(other.url, session=aws_session)
        create_group(others, "only-there", low=0, high=1, desired=0)
        names = [
            one["AutoScalingGroupName"]
            for clients in (lab.clients, lab_clients(moto_url, session=aws_session))
            for one in clients.autoscaling.describe_auto_scaling_groups()["AutoScalingGroups"]
        ]

    assert "only-there" not in names


def test_regions_are_apart(lab: Lab):
    frankfurt = lab_clients(lab.server.url, region="eu-central-1")
    create_group(frankfurt, "g", low=1, high=1, desired=1)

    assert lab.clients.autoscaling.describe_auto_scaling_groups()["AutoScalingGroups"] == []
    (group,) = frankfurt.autoscaling.describe_auto_scaling_groups()["AutoScalingGroups"]
    assert group["Instances"][0]["AvailabilityZone"] == "eu-central-1a"


def test_the_same_seed_and_times_give_the_same_boot_times(aws_session: boto3.Session):
    from scaler.lab.control import LabControl
    from scaler.lab.settings import LabSettings

    def boots() -> list[float]:
        clock = HandClock()
        settings = LabSettings(boot_s=120, boot_sigma=0.4, seed=7)
        with LabServer(clock, settings=settings) as server:
            create_group(
                lab_clients(server.url, session=aws_session), "g", low=4, high=4, desired=4
            )
            clock.advance(3600)
            group = LabControl(server.url).group("g")
            return [(one.in_service_s or 0) - one.launched_s for one in group.instances]

    first = boots()

    assert first == boots()
    assert len(set(first)) == 4
    assert all(20 < boot_s < 700 for boot_s in first)
