"""An instance refresh: every old instance is replaced, one at a time.

Enough of it for a scaler to notice one and to wait: a replacement starts when the group is whole,
so the healthy share never falls below one instance less. Protected instances are waited for, an
hour at most, as AWS does by default. Source: API reference, RefreshPreferences.
"""

from dataclasses import dataclass, field

from scaler.lab.groups import ScalingGroup

STEP_S = 5.0
PATIENCE_S = 3600.0
MAX_REFRESHES = 100


@dataclass(slots=True, kw_only=True)
class InstanceRefresh:
    """One refresh of one group."""

    id: str
    group: ScalingGroup
    started_s: float
    status: str = "Pending"
    reason: str = ""
    ended_s: float | None = None
    old: list[str] = field(default_factory=list)
    progressed_s: float = 0.0

    @property
    def running(self) -> bool:
        return self.ended_s is None

    def begin(self) -> None:
        self.old = [one.id for one in self.group.members()]
        self.progressed_s = self.started_s
        self._again()

    def cancel(self) -> None:
        self.status = "Cancelling"

    def left(self) -> list[str]:
        """Old instances still in the group."""
        return [one for one in self.old if one in self.group.instances]

    def percent_complete(self) -> int:
        return 100 if not self.old else int(100 * (1 - len(self.left()) / len(self.old)))

    def _again(self) -> None:
        self.group.around.timeline.after(STEP_S, self._step)

    def _step(self) -> None:
        now_s = self.group.around.timeline.now_s
        if self.status == "Cancelling":
            self._end("Cancelled", now_s)
            return
        self.status = "InProgress"
        left = self.left()
        if not left and self.group.activity_in_progress() is None:
            self._end("Successful", now_s)
            return
        if self.group.activity_in_progress() is None:
            self._replace_one(left, now_s)
        if self.running:
            self._again()

    def _replace_one(self, left: list[str], now_s: float) -> None:
        free = [
            one
            for one in left
            if not self.group.instances[one].protected
            and self.group.instances[one].state == "InService"
        ]
        if free:
            self.progressed_s = now_s
            self.group.end_instance(free[0], decrement=False)
        elif now_s - self.progressed_s > PATIENCE_S:
            self.reason = "Instances protected from scale-in or in standby remain."
            self._end("Failed", now_s)
        else:
            self.reason = "Waiting for instances protected from scale-in or in standby."

    def _end(self, status: str, now_s: float) -> None:
        self.status = status
        self.ended_s = now_s
