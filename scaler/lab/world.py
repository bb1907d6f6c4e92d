"""The world behind the endpoint: one lock, one timeline, regions, faults, and what was called."""

import itertools
import logging
import queue
import random
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from scaler.lab.errors import AwsError
from scaler.lab.faults import Faults
from scaler.lab.groups import InstanceEvent, Surroundings
from scaler.lab.moto_backend import MotoBackend
from scaler.lab.region import Region
from scaler.lab.settings import LabSettings
from scaler.lab.timeline import Timeline
from scaler.loop.clock import SystemClock

MAX_REQUESTS = 20_000
MAX_REQUEST_BYTES = 8_000_000
MAX_REGIONS = 40
LONGEST_NAP_S = 0.25
SHORTEST_NAP_S = 0.002
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One call that reached the endpoint. `at_s` is virtual; `number` counts from 1."""

    number: int
    at_s: float
    service: str
    action: str
    region: str
    params: Mapping[str, object]
    status: int
    error: str
    size_bytes: int


class World:
    """Everything the endpoint knows. `entered()` brings it up to date and holds its lock."""

    def __init__(self, clock: SystemClock, settings: LabSettings, moto: MotoBackend) -> None:
        self.clock = clock
        self.settings = settings
        self.moto = moto
        self.dice = random.Random(settings.seed)  # noqa: S311 — draws of a simulation
        self.faults = Faults(self.dice)
        self.timeline = Timeline(clock.wall_s())
        self.regions: dict[str, Region] = {}
        self.requests: deque[Request] = deque()
        self.listeners: list[Callable[[InstanceEvent], None]] = []
        self.request_ids = itertools.count(1)
        self._calls = 0
        self._kept_bytes = 0
        self._nap_until_s = 0.0
        self._untold: queue.SimpleQueue[InstanceEvent | None] = queue.SimpleQueue()
        self._lock = threading.RLock()
        self._wake = threading.Event()
        self._stopped = threading.Event()

    @contextmanager
    def entered(self) -> Iterator[None]:
        """The world at this moment, held."""
        with self._lock:
            self.timeline.advance(self.clock.wall_s())
            yield
            self.timeline.advance(self.timeline.now_s)  # what the caller set off for "at once"
            if (self.timeline.next_s or self._nap_until_s) < self._nap_until_s:
                self._wake.set()

    def region(self, name: str) -> Region:
        """The region of this name, made when first named. Call with the world entered."""
        region = self.regions.get(name)
        if region is None:
            if len(self.regions) >= MAX_REGIONS:
                raise AwsError("InvalidAction", f"The lab has {MAX_REGIONS} regions already.")
            region = self.regions[name] = Region(
                Surroundings(
                    region=name,
                    timeline=self.timeline,
                    settings=self.settings,
                    moto=self.moto,
                    faults=self.faults,
                    dice=self.dice,
                    emit=self._emit,
                )
            )
        return region

    def record(
        self,
        *,
        service: str,
        action: str,
        region: str,
        params: Mapping[str, object],
        status: int,
        error: str,
        size_bytes: int,
    ) -> None:
        """Remember a call; the oldest are forgotten beyond MAX_REQUESTS and MAX_REQUEST_BYTES."""
        with self._lock:
            self._calls += 1
            self._kept_bytes += size_bytes
            while self.requests and (
                self._kept_bytes > MAX_REQUEST_BYTES or len(self.requests) >= MAX_REQUESTS
            ):
                self._kept_bytes -= self.requests.popleft().size_bytes
            self.requests.append(
                Request(
                    number=self._calls,
                    at_s=self.clock.wall_s(),
                    service=service,
                    action=action,
                    region=region,
                    params=params,
                    status=status,
                    error=error,
                    size_bytes=size_bytes,
                )
            )

    def forget_requests(self) -> None:
        with self._lock:
            self.requests.clear()
            self._kept_bytes = 0

    def live(self) -> None:
        """Let time pass until `stop`: instances boot and alarms fire though nobody asks."""
        while not self._stopped.is_set():
            self._wake.clear()
            try:
                nap_s = self._pass_time()
            except Exception:  # noqa: BLE001 — a bug in one event must not stop the world's time
                _LOG.exception("an event of the lab failed")
                continue
            self._wake.wait(max(nap_s, SHORTEST_NAP_S))

    def _pass_time(self) -> float:
        """Bring the world up to date. Returns: real seconds until it is next due."""
        with self.entered():
            now_s, next_s = self.timeline.now_s, self.timeline.next_s
            longest_s = now_s + LONGEST_NAP_S * self.clock.speed
            self._nap_until_s = longest_s if next_s is None else min(next_s, longest_s)
            return self.clock.real_s(self._nap_until_s - now_s)

    def tell(self) -> None:
        """Tell listeners of events, in order, until `stop`: a thread of its own, so that a slow
        listener delays no request."""
        while (event := self._untold.get()) is not None:
            for listener in list(self.listeners):
                listener(event)

    def _emit(self, event: InstanceEvent) -> None:
        if self.listeners:
            self._untold.put(event)

    def stop(self) -> None:
        self._stopped.set()
        self._wake.set()
        self._untold.put(None)

    def stopped_within(self, real_s: float) -> bool:
        """Wait in real time; True when the lab stopped meanwhile."""
        return self._stopped.wait(real_s)
