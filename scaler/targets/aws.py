"""boto3 with everything spelled out, and its many ways to fail as one small value.

Reads retry, writes never do: a repeated write can act twice, and a write that is late may come
after somebody else has taken the lease. Both have short timeouts, because botocore's defaults
(60 s to connect, 60 s to read, three attempts) are longer than many ticks.
"""

import asyncio
import queue
import re
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Generic, Literal, ParamSpec, TypeVar

import boto3
import botocore.session
from botocore import exceptions as faults
from botocore.config import Config
from botocore.parsers import ResponseParserError

from scaler import __version__
from scaler.model.change import Outcome
from scaler.model.errors import ConfigError
from scaler.model.readings import Missing

if TYPE_CHECKING:
    from mypy_boto3_application_autoscaling import ApplicationAutoScalingClient
    from mypy_boto3_autoscaling import AutoScalingClient
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_ecs import ECSClient

P = ParamSpec("P")
T = TypeVar("T")
ClientT = TypeVar("ClientT")

TroubleKind = Literal["throttled", "refused", "unreachable", "unknown"]

USER_AGENT_EXTRA = f"ascension-scaler/{__version__}"
MAX_REASON_CHARS = 300

THROTTLE_CODES = frozenset(
    {
        "BandwidthLimitExceeded",
        "EC2ThrottledException",
        "LimitExceededException",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "RateExceeded",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
"""Error codes that botocore's standard mode retries as throttles, and `RateExceeded`."""

DECLINED_DESPITE_5XX = frozenset({"ResourceContention", "ResourceContentionFault"})
"""Answers with HTTP 500 that are still a plain no (EC2 Auto Scaling API, ResourceContention)."""

_NEVER_SENT = (
    faults.EndpointConnectionError,
    faults.ConnectTimeoutError,
    faults.ProxyConnectionError,
    faults.NoCredentialsError,
    faults.PartialCredentialsError,
    faults.CredentialRetrievalError,
    faults.TokenRetrievalError,
    faults.UnauthorizedSSOTokenError,
    faults.NoRegionError,
    faults.ParamValidationError,
)
"""Faults that happen before the first byte of a request leaves: the write was not done."""

_SECRETIVE = (faults.CredentialRetrievalError, faults.TokenRetrievalError)
"""Faults whose text may quote the output of a credential process."""

_FAULTS = (faults.BotoCoreError, faults.ClientError, ResponseParserError, OSError, KeyError)
"""All that a botocore call raises for trouble outside our code: OSError from credential files,
KeyError from its XML parser when an answer lacks the element that it must have (a proxy's page)."""

_REDACTIONS = (
    (re.compile(r"(?<!\d)\d{12}(?!\d)"), "<account>"),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}\b"), "<access key>"),
    (re.compile(r"//[^/@\s]+@"), "//<user>@"),
    (re.compile(r"(?i)(signature|security-token|secret|password)[=:]\S+"), r"\1=<secret>"),
    (re.compile(r"(?i)(encoded authorization failure message:)\s*\S+"), r"\1 <encoded>"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsSettings:
    """Where AWS is and how long it may take.

    Attributes:
        region: None: what the environment or profile says.
        endpoint_url: None: AWS itself, or AWS_ENDPOINT_URL from the environment.
        connect_timeout_s, read_timeout_s: of one attempt, > 0.
        read_attempts, write_attempts: attempts in total, the first included, ≥ 1.
        margin_s: how much longer our own await lasts than botocore's timeouts can, ≥ 0; fetching
            fresh credentials happens within it.
    """

    region: str | None = None
    endpoint_url: str | None = None
    connect_timeout_s: float = 2.0
    read_timeout_s: float = 5.0
    read_attempts: int = 3
    write_attempts: int = 1
    margin_s: float = 2.0

    def deadline_s(self, attempts: int) -> float:
        """How long we await a call of so many attempts: longer than botocore takes to give up.

        Cancelling an await does not stop its thread, so botocore has to end first. Between two
        attempts its standard mode waits at most min(2^i, 20) s, plus 5 s that a server may ask for
        by `x-amz-retry-after` (botocore.retries.standard).
        """
        backoff_s = sum(min(2.0**i, 20.0) + 5.0 for i in range(attempts - 1))
        return attempts * (self.connect_timeout_s + self.read_timeout_s) + backoff_s + self.margin_s

    @property
    def write_deadline_s(self) -> float:
        """The longest time that one write keeps its caller: what a lease has to outlive."""
        return self.deadline_s(self.write_attempts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clients(Generic[ClientT]):
    """One service's client twice: `read` retries, `write` makes one attempt."""

    read: ClientT
    write: ClientT


class AwsConnections:
    """Builds the clients, on one thread, once; they are safe to share between threads."""

    def __init__(self, settings: AwsSettings) -> None:
        self.settings = settings
        core = botocore.session.get_session()
        if core.get_config_variable("metadata_service_num_attempts") == 1:
            # One lost packet to the instance's metadata service would end in NoCredentialsError.
            core.set_config_variable("metadata_service_num_attempts", 3)
        self.session = boto3.Session(botocore_session=core, region_name=settings.region)
        if self.session.region_name is None:
            raise ConfigError(
                "no AWS region",
                why="neither the configuration nor the environment names one",
                fix="set aws.region or AWS_REGION",
            )

    def config(self, *, attempts: int) -> Config:
        """Every setting that decides how long a call may take, none left to a default."""
        return Config(
            connect_timeout=self.settings.connect_timeout_s,
            read_timeout=self.settings.read_timeout_s,
            retries={"mode": "standard", "total_max_attempts": attempts},
            tcp_keepalive=True,
            max_pool_connections=32,  # two threads for each of many fleets share a client
            user_agent_extra=USER_AGENT_EXTRA,
        )

    def autoscaling(self) -> "Clients[AutoScalingClient]":
        """EC2 Auto Scaling."""
        return Clients(
            read=self.session.client(
                "autoscaling", endpoint_url=self.settings.endpoint_url, config=self._read
            ),
            write=self.session.client(
                "autoscaling", endpoint_url=self.settings.endpoint_url, config=self._write
            ),
        )

    def ecs(self) -> "Clients[ECSClient]":
        """ECS."""
        return Clients(
            read=self.session.client(
                "ecs", endpoint_url=self.settings.endpoint_url, config=self._read
            ),
            write=self.session.client(
                "ecs", endpoint_url=self.settings.endpoint_url, config=self._write
            ),
        )

    def application_autoscaling(self) -> "Clients[ApplicationAutoScalingClient]":
        """Application Auto Scaling, which keeps the floor of an ECS service."""
        return Clients(
            read=self.session.client(
                "application-autoscaling",
                endpoint_url=self.settings.endpoint_url,
                config=self._read,
            ),
            write=self.session.client(
                "application-autoscaling",
                endpoint_url=self.settings.endpoint_url,
                config=self._write,
            ),
        )

    def cloudwatch(self, config: Config) -> "CloudWatchClient":
        """CloudWatch, for publishing; `config` is the publisher's, under our timeouts."""
        return self.session.client(
            "cloudwatch",
            endpoint_url=self.settings.endpoint_url,
            config=config.merge(self.config(attempts=1)),
        )

    @property
    def _read(self) -> Config:
        return self.config(attempts=self.settings.read_attempts)

    @property
    def _write(self) -> Config:
        """Without botocore's look at the types of parameters: mypy has checked those of our few
        writes, and AWS checks their values."""
        return self.config(attempts=self.settings.write_attempts).merge(
            Config(parameter_validation=False)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Why a call gave no answer. `reason` is free of account ids and credentials.

    throttled: asked too often, not done. refused: understood and declined, not done.
    unreachable: not done (a write), or not known (a read). unknown: a write whose answer was lost,
    so it may have been done.
    """

    kind: TroubleKind
    reason: str

    def missing(self, what: str) -> Missing:
        """This trouble as a reading that is not there; `what` names what was asked for."""
        return Missing(f"{what}: {self.reason}")

    def outcome(self, *, took_s: float) -> Outcome:
        """This trouble as the outcome of a write."""
        kind: Literal["unknown", "refused"] = "unknown" if self.kind == "unknown" else "refused"
        return Outcome(kind=kind, reason=self.reason, took_s=took_s)


def redact(text: str) -> str:
    """One short line without account ids, access keys, signatures and user names in URLs."""
    line = " ".join(text.split())
    for pattern, instead in _REDACTIONS:
        line = pattern.sub(instead, line)
    return line if len(line) <= MAX_REASON_CHARS else line[: MAX_REASON_CHARS - 1] + "…"


def trouble_of(error: Exception, *, write: bool) -> Trouble:
    """What a botocore error means for us.

    A ClientError is AWS's answer: throttled, refused, or a fault of its own (HTTP 5xx), after which
    a write may have been done. Everything else is transport: before the request left a write was
    not done, afterwards nobody knows.
    """
    if isinstance(error, faults.ClientError):
        return _trouble_in_answer(error, write=write)
    if isinstance(error, _SECRETIVE):
        return Trouble(
            kind="unreachable",
            reason=f"no AWS credentials ({type(error).__name__}, see its source)",
        )
    reason = redact(f"no answer from AWS ({type(error).__name__}: {error})")
    lost = write and not isinstance(error, _NEVER_SENT)
    return Trouble(kind="unknown" if lost else "unreachable", reason=reason)


def _trouble_in_answer(error: faults.ClientError, *, write: bool) -> Trouble:
    answer = error.response.get("Error", {})
    code = answer.get("Code", "no code")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    words = redact(f"{error.operation_name}: {code}: {answer.get('Message', '')}")
    if code in THROTTLE_CODES or status == 429:
        return Trouble(kind="throttled", reason=f"throttled ({words})")
    if status >= 500 and code not in DECLINED_DESPITE_5XX:
        kind: TroubleKind = "unknown" if write else "unreachable"
        return Trouble(kind=kind, reason=f"AWS failed ({words}, HTTP {status})")
    return Trouble(kind="refused", reason=f"AWS refused ({words})")


class AwsCalls:
    """One target's own few threads for blocking calls, so that a hung endpoint stalls it alone.

    The threads are daemons, unlike those of a ThreadPoolExecutor: the interpreter does not wait at
    exit for a call that hangs. They start when first needed. Nothing queues without limit, because
    whoever calls awaits the answer, and a call whose await ended before a thread was free is never
    begun.
    """

    def __init__(self, name: str, *, settings: AwsSettings, max_threads: int = 2) -> None:
        self._name = name
        self._settings = settings
        self._max_threads = max_threads
        self._threads: list[threading.Thread] = []
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()

    async def read(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T | Trouble:
        """The answer of a client's read method, or why there is none."""
        bound = partial(call, *args, **kwargs)
        return await self._answer(bound, attempts=self._settings.read_attempts, write=False)

    async def write(
        self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T | Trouble:
        """The answer of a client's write method, or what became of it instead."""
        bound = partial(call, *args, **kwargs)
        return await self._answer(bound, attempts=self._settings.write_attempts, write=True)

    def close(self) -> None:
        """Let idle threads end; one that hangs ends with its call or with the process."""
        for _ in self._threads:
            self._work.put(None)
        self._threads.clear()

    async def _answer(self, call: Callable[[], T], *, attempts: int, write: bool) -> T | Trouble:
        deadline_s = self._settings.deadline_s(attempts)
        future: Future[T] = Future()
        answer = asyncio.wrap_future(future)
        try:
            async with asyncio.timeout(deadline_s):
                # Last of all: until this thread rests, the other one waits for the interpreter.
                self._submit(call, future)
                return await answer
        except TimeoutError:
            if future.cancel():  # still waiting for a thread: now it never begins
                return Trouble(
                    kind="unreachable",
                    reason=f"not sent: every thread of this target hung for {deadline_s:g}s",
                )
            kind: TroubleKind = "unknown" if write else "unreachable"
            return Trouble(kind=kind, reason=f"no answer from AWS within {deadline_s:g}s")
        except _FAULTS as error:
            return trouble_of(error, write=write)

    def _submit(self, call: Callable[[], T], future: "Future[T]") -> None:
        def work() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                answer = call()
            except BaseException as error:  # noqa: BLE001 - carried over to whoever awaits it
                future.set_exception(error)
            else:
                future.set_result(answer)

        self._work.put(work)
        if len(self._threads) < self._max_threads:
            number = len(self._threads) + 1
            thread = threading.Thread(
                target=self._serve, name=f"aws:{self._name}:{number}", daemon=True
            )
            self._threads.append(thread)
            thread.start()

    def _serve(self) -> None:
        while (work := self._work.get()) is not None:
            work()
