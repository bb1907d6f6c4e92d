"""What may be written in a configuration file, and what each field means.

Attributes carry their unit (`tick_s`); the key in the file does not (`tick`), because there the
value carries it (`10s`). A key that is a word of Python has an underscore here (`in_`).

The descriptions are the reference: the JSON Schema and docs/reference/configuration.md are made
of them. What spans several fields of one section is checked here; what spans sections, in
`check.py`; a policy's own parameters, by the policy's own model.
"""

from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from scaler.config.values import (
    AtLeastOne,
    Count,
    DimensionValue,
    Duration,
    HttpUrl,
    Listen,
    ListenAddress,
    Name,
    Namespace,
    ObjectiveText,
    PositiveDuration,
    RedisUrl,
    Switch,
    Text,
    refusal,
)

_MINUTE_S = 60.0


def _key(attribute: str) -> str:
    """The key in the file of an attribute: `tick_s` → `tick`, `in_` → `in`."""
    return attribute.removesuffix("_s").rstrip("_")


class Section(BaseModel):
    """Base of every section: immutable, unknown keys refused, values kept out of errors."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=_key, hide_input_in_errors=True
    )


class Redis(Section):
    """The Redis (or Valkey) server that holds the queues, the reports and the daemon's state."""

    url: RedisUrl = Field(
        examples=['"${REDIS_URL}"'],
        description="Address: `redis://host:6379/0`, `rediss://…` for TLS, `unix:///path`. "
        "Secret, since a password may be in it.",
    )
    mode: Literal["standalone", "sentinel", "cluster"] = Field(
        default="standalone",
        description="How the server is set up. This version speaks to `standalone` servers only.",
    )
    username: Text | None = Field(default=None, description="ACL user, if not in the URL.")
    password: SecretStr | None = Field(
        default=None, description="Password, if not in the URL. Secret."
    )
    ca_file: Path | None = Field(
        default=None,
        description="PEM file of the authority that signed the server's certificate; "
        "default: the system's.",
    )
    connect_timeout_s: PositiveDuration = Field(
        default=2.0, description="Longest wait for a connection."
    )
    timeout_s: PositiveDuration = Field(default=2.0, description="Longest wait for a reply.")

    @field_validator("mode")
    @classmethod
    def _available(cls, mode: str) -> str:
        if mode != "standalone":
            raise refusal("is not available in this version", right="write standalone")
        return mode

    @model_validator(mode="after")
    def _authority_of_tls(self) -> Self:
        if self.ca_file is not None and urlsplit(self.url.get_secret_value()).scheme != "rediss":
            right = "write rediss:// in redis.url, or remove ca_file"
            raise refusal("is for TLS, and redis.url is not", right=right, at="ca_file")
        return self


class Aws(Section):
    """How AWS is reached. Credentials come from the usual chain (environment, profile, role)."""

    region: Text | None = Field(
        default=None, description="Region, like `us-east-1`; default: `AWS_REGION` and the profile."
    )
    endpoint_url: HttpUrl | None = Field(
        default=None,
        description="Another endpoint for every service, such as an emulator; "
        "default: `AWS_ENDPOINT_URL`, else AWS.",
    )
    connect_timeout_s: PositiveDuration = Field(
        default=2.0, description="Longest wait for a connection, each attempt."
    )
    read_timeout_s: PositiveDuration = Field(
        default=5.0,
        description="Longest wait for an answer, each attempt. "
        "A write without an answer counts as unknown, never as failed.",
    )
    attempts: Annotated[AtLeastOne, Field(le=10)] = Field(
        default=3, description="Attempts of one call, the first included (retry mode `standard`)."
    )


class ListQueue(Section):
    """A Redis list; a job is one element."""

    type: Literal["list"] = Field(description="A Redis list.")
    key: Text = Field(description="Key of the list with the waiting jobs.")
    processing_key: Text | None = Field(
        default=None,
        description="Key of the list that workers move a job to while they run it (reliable "
        "queue); it gives the jobs in flight.",
    )
    oldest: Literal["none", "tail", "head"] = Field(
        default="none",
        description="Which end holds the oldest job: `tail` for LPUSH with RPOP, `head` for RPUSH "
        "with LPOP. `none`: the age of the oldest job is not known.",
    )
    enqueued_at: Text = Field(
        default="enqueued_at",
        description="Field of the JSON payload that holds the enqueue time in Unix seconds; "
        "read where `oldest` is set.",
    )

    @model_validator(mode="after")
    def _two_lists(self) -> Self:
        if self.processing_key == self.key:
            raise refusal(
                "must differ from key: running jobs would count as waiting",
                right="name the list that workers move a job to, or leave it out",
                at="processing_key",
            )
        return self


class StreamQueue(Section):
    """A Redis stream with a consumer group."""

    type: Literal["stream"] = Field(description="A Redis stream.")
    key: Text = Field(description="Key of the stream.")
    group: Text = Field(
        description="Consumer group of the workers: what it has not read waits, "
        "what it has not acknowledged is in flight."
    )


class SortedSetQueue(Section):
    """A Redis sorted set whose scores are due times."""

    type: Literal["sorted_set"] = Field(description="A Redis sorted set.")
    key: Text = Field(description="Key of the sorted set.")
    unit: Literal["seconds", "milliseconds"] = Field(
        default="seconds",
        description="Unit of the scores, counted from the Unix epoch. "
        "A job waits once its score is reached; before, it is delayed.",
    )


Queue = Annotated[ListQueue | StreamQueue | SortedSetQueue, Field(discriminator="type")]

_SAFETY_NET = (
    "Name of a scaling policy on this target that is meant to be there (a safety net); "
    "any other is warned about once."
)


class AsgTarget(Section):
    """An EC2 Auto Scaling group."""

    type: Literal["asg"] = Field(description="An EC2 Auto Scaling group.")
    name: Annotated[Text, Field(max_length=255)] = Field(description="Name of the group.")
    safety_net_policy: Text | None = Field(default=None, description=_SAFETY_NET)


class EcsTarget(Section):
    """An ECS service."""

    type: Literal["ecs"] = Field(description="An ECS service.")
    cluster: Annotated[Text, Field(max_length=255)] = Field(description="Name of the cluster.")
    service: Annotated[Text, Field(max_length=255)] = Field(description="Name of the service.")
    mode: Literal["desired_count", "floor"] = Field(
        default="desired_count",
        description="`desired_count` sets the service's desired count. `floor` sets the minimum "
        "capacity of Application Auto Scaling and leaves AWS target tracking above it in place.",
    )
    safety_net_policy: Text | None = Field(default=None, description=_SAFETY_NET)


Target = Annotated[AsgTarget | EcsTarget, Field(discriminator="type")]


class Bounds(Section):
    """The fleet never asks for less or more. A fleet above its max comes down slowly."""

    min: Count = Field(description="Fewest workers, ≥ 0.")
    max: Count = Field(description="Most workers, ≥ min.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.max < self.min:
            raise refusal(
                f"must be at least bounds.min, which is {self.min}",
                right=f"raise max to {self.min} or more, or lower min",
                at="max",
            )
        return self


class Policy(BaseModel):
    """One policy. Its other keys are the parameters of its type; see `ascension-scaler policies`.

    Extra keys are allowed here because the policy's own model refuses the wrong ones.
    """

    model_config = ConfigDict(frozen=True, extra="allow", hide_input_in_errors=True)

    type: Text = Field(description="Type of the policy.")
    name: Name | None = Field(
        default=None,
        description="Name in decisions and metrics, unique in the fleet; default: the type.",
    )


class Stabilization(Section):
    """How far back recommendations count (Kubernetes HPA semantics)."""

    out_s: Duration = Field(
        default=0.0, description="Scale out only to the lowest recommendation of this window."
    )
    in_s: Duration = Field(
        default=300.0, description="Scale in only to the highest recommendation of this window."
    )


class Rate(Section):
    """A speed limit: `workers` or `percent`, per period."""

    workers: AtLeastOne | None = Field(
        default=None, description="At most so many workers per period."
    )
    percent: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = Field(
        default=None,
        description="At most so many percent of the fleet at the period's start, rounded up.",
    )
    per_s: PositiveDuration = Field(description="The period.")

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if self.workers is None and self.percent is None:
            raise refusal(
                "limits nothing: it has neither workers nor percent",
                right="write {workers: 4, per: 60s} or {percent: 100, per: 60s}",
            )
        if self.workers is not None and self.percent is not None:
            raise refusal(
                "has both workers and percent",
                right="make it two limits, one with each: all limits hold together",
            )
        return self


class Rates(Section):
    """Speed limits per direction; all of them hold."""

    out: tuple[Rate, ...] = Field(default=(), description="Limits of scaling out. Empty: no limit.")
    in_: tuple[Rate, ...] = Field(default=(), description="Limits of scaling in. Empty: no limit.")


class Cooldown(Section):
    """After a change in a direction, no further one in it for this long."""

    out_s: Duration = Field(default=0.0, description="After a scale-out.")
    in_s: Duration = Field(default=0.0, description="After a scale-in.")


class Behaviour(Section):
    """How fast the fleet may change, whatever its policies say."""

    stabilization: Stabilization = Field(
        default=Stabilization(), description="Windows that damp a wavering recommendation."
    )
    rate: Rates = Field(default=Rates(), description="Speed limits.")
    cooldown: Cooldown = Field(default=Cooldown(), description="Pauses after a change.")
    default_cooldown_s: Duration = Field(
        default=300.0,
        description="AWS's DefaultCooldown: only `step` policies of `kind: simple` read it; "
        "counted from the end of the activity that they started.",
    )
    warmup_s: Duration = Field(
        default=180.0,
        description="AWS's DefaultInstanceWarmup: only `step` policies of `kind: step` read it.",
    )
    activation: Count = Field(
        default=0,
        description="Backlog in jobs below which a fleet at its minimum stays there.",
    )
    disable_scale_in: Switch = Field(default=False, description="Never scale in.")


class Fallback(Section):
    """Capacity to hold at least while signals are missing."""

    capacity: Count = Field(description="Workers to hold at least; works from zero too.")
    after_s: Duration = Field(
        default=120.0, description="For how long signals must have been missing."
    )


class Fleet(Section):
    """Workers of one kind: what they are, what they serve, how many there may be."""

    target: Target = Field(
        examples=["{type: asg, name: my-workers}"],
        description="The AWS resource whose capacity changes.",
    )
    signals: Annotated[tuple[Name, ...], Field(min_length=1)] = Field(
        examples=["[videos]"], description="Names of the queues that this fleet serves."
    )
    bounds: Bounds = Field(examples=["{min: 2, max: 10}"], description="Fewest and most workers.")
    objective: ObjectiveText | None = Field(
        default=None,
        description="The promise: `95% of jobs start within 60s`; "
        "`p95 wait <= 60s` means the same.",
    )
    policies: Annotated[tuple[Policy, ...], Field(min_length=1)] = Field(
        examples=["[{type: target_tracking}]"],
        description="Policies, in order. Each recommends a capacity.",
    )
    combine: Literal["max", "min", "first"] = Field(
        default="max",
        description="How recommendations become one: the highest, the lowest, or that of the "
        "first policy with an opinion.",
    )
    behaviour: Behaviour = Field(default=Behaviour(), description="How fast the fleet may change.")
    scale_in: Literal["hold", "drain", "deregister", "unsafe_by_count"] = Field(
        default="hold",
        description="How the fleet shrinks. `hold`: not at all, with the reason in every decision. "
        "`deregister`: for stateless services behind a load balancer, which drains them. "
        "`unsafe_by_count`: lower the desired capacity and let AWS choose who ends, running jobs "
        "or not. `drain` is not available in this version.",
    )
    fallback: Fallback | None = Field(
        default=None, description="What to hold while signals are missing; default: what stands."
    )
    boot_time_s: Duration = Field(
        default=180.0, description="From the launch of a worker until it takes its first job."
    )
    stale_after_s: PositiveDuration | None = Field(
        default=None,
        description="Age from which a reading counts as missing; default: `loop.stale_after`.",
    )
    dry_run: Switch = Field(
        default=False, description="Decide on the real world and withhold every write."
    )

    @field_validator("scale_in")
    @classmethod
    def _available(cls, scale_in: str) -> str:
        if scale_in == "drain":
            raise refusal(
                "is not available in this version: it needs workers that can hand back a job",
                right="write hold (never end a worker), or unsafe_by_count if a job may be cut off",
            )
        return scale_in


class Loop(Section):
    """When the daemon looks and when it decides."""

    tick_s: PositiveDuration = Field(
        default=10.0, description="Time between two decisions when nothing wakes the daemon."
    )
    poll_s: PositiveDuration = Field(default=2.0, description="Time between two looks at queues.")
    describe_s: PositiveDuration = Field(
        default=10.0, description="Time between two looks at the capacity of targets."
    )
    debounce_s: PositiveDuration = Field(
        default=1.0,
        description="Shortest time between two decisions that pushes to a queue can cause.",
    )
    stale_after_s: PositiveDuration = Field(
        default=60.0,
        description="Age from which a reading counts as missing. "
        "While a signal is missing a fleet does not scale in.",
    )


class Reports(Section):
    """Where workers report the jobs they start and finish."""

    stream: Text = Field(default="ascension:reports", description="Key of the stream.")
    window_s: PositiveDuration = Field(
        default=300.0,
        description="Window of processing times, waits and arrival rates; at least `60s`, since "
        "reports are counted by the minute.",
    )

    @field_validator("window_s")
    @classmethod
    def _at_least_a_minute(cls, window_s: float) -> float:
        if window_s < _MINUTE_S:
            raise refusal(
                "is shorter than the minutes that reports are counted by", right="write 60s or more"
            )
        return window_s


class Publish(Section):
    """Metrics to CloudWatch. Prometheus reads `/metrics` of the `http` section."""

    cloudwatch: Switch = Field(default=True, description="Publish to CloudWatch.")
    interval_s: PositiveDuration = Field(default=60.0, description="Time between two batches.")
    namespace: Namespace = Field(default="Ascension", description="CloudWatch namespace.")
    totals: Switch = Field(
        default=True,
        description="Publish each metric also without dimensions, over all queues: CloudWatch "
        "does not add dimensions up by itself.",
    )
    buffer: AtLeastOne = Field(
        default=10_000,
        description="Data kept in memory while CloudWatch is away; beyond, the oldest go "
        "and are counted.",
    )


LISTEN = Listen(host="127.0.0.1", port=9108)


class Http(Section):
    """The daemon's HTTP server: `/metrics`, `/healthz`, `/readyz`."""

    listen: ListenAddress = Field(
        default=LISTEN,
        json_schema_extra={"default": str(LISTEN)},  # as people write it
        description="Host and port. It has no password: listen on an address that only your own "
        "systems reach.",
    )


class State(Section):
    """Where a fleet's memory (cooldowns, windows) outlives the process."""

    store: Literal["redis", "file", "memory"] = Field(
        default="redis",
        description="`redis`: in the server of the `redis` section. `file`: in `directory`. "
        "`memory`: lost with the process; the daemon then starts with scale-in frozen.",
    )
    directory: Path | None = Field(
        default=None, description="Directory of the `file` store, which needs it."
    )

    @model_validator(mode="after")
    def _file_has_a_directory(self) -> Self:
        if self.store == "file" and self.directory is None:
            right = "add directory: /var/lib/ascension-scaler"
            raise refusal("needs state.directory", right=right, at="store")
        if self.store != "file" and self.directory is not None:
            raise refusal(
                f"is for store: file, and the store is {self.store}",
                right="remove directory, or write store: file",
                at="directory",
            )
        return self


class Decisions(Section):
    """The decision log that `ascension-scaler explain` reads."""

    keep: Annotated[AtLeastOne, Field(le=1_000_000)] = Field(
        default=8_640, description="Decisions kept per fleet; 8640 are a day of 10 s ticks."
    )


class Log(Section):
    """What the daemon says on stderr."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least important level that is written."
    )
    format: Literal["auto", "json", "console"] = Field(
        default="auto", description="`auto`: lines for people on a terminal, JSON elsewhere."
    )


class Sentry(Section):
    """Error reports to Sentry."""

    dsn: SecretStr | None = Field(
        default=None, description="Address of the project. Secret. Default: no reports."
    )


class Config(Section):
    """Configuration of ascension-scaler: queues, fleets, and how the daemon runs."""

    version: Literal[1] = Field(description="Version of this format: 1.")
    environment: DimensionValue = Field(
        default="production", description="The dimension `Environment` of every metric."
    )
    redis: Redis = Field(examples=['{url: "${REDIS_URL}"}'], description="The Redis server.")
    aws: Aws = Field(default=Aws(), description="How AWS is reached.")
    queues: Annotated[dict[Name, Queue], Field(min_length=1)] = Field(
        examples=["{videos: {type: list, key: videos}}"],
        description="Queues by name. The name is the dimension `Queue` of its metrics.",
    )
    fleets: dict[Name, Fleet] = Field(
        default={},
        description="Fleets by name. Without one the daemon observes and publishes only.",
    )
    loop: Loop = Field(default=Loop(), description="When the daemon looks and decides.")
    reports: Reports = Field(default=Reports(), description="Reports of the workers.")
    publish: Publish = Field(default=Publish(), description="Metrics to CloudWatch.")
    http: Http = Field(default=Http(), description="The daemon's HTTP server.")
    state: State = Field(default=State(), description="Where fleets remember.")
    decisions: Decisions = Field(default=Decisions(), description="The decision log.")
    log: Log = Field(default=Log(), description="What the daemon says.")
    sentry: Sentry = Field(default=Sentry(), description="Error reports.")
