"""An ECS service whose tasks take time to start and to stop.

moto keeps the definition; desired count, tasks and deployments are ours. A change of desired count
starts no deployment; a new task definition or a forced one does, and replaces tasks within 100 %
and 200 % of desired count. Source: ECS API reference, UpdateService and DeploymentConfiguration.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from scaler.lab.faults import launch_message
from scaler.lab.groups import Surroundings

TaskState = Literal["PENDING", "RUNNING", "DEACTIVATING", "STOPPED"]
MAX_EVENTS = 100
MAX_STOPPED = 1000


@dataclass(slots=True, kw_only=True)
class LabTask:
    """One task of a service. Times are virtual Unix seconds."""

    id: str
    deployment: str
    started_s: float
    state: TaskState = "PENDING"
    running_s: float | None = None
    stopping_s: float | None = None
    stopped_s: float | None = None


@dataclass(slots=True, kw_only=True)
class Deployment:
    """One version of the service on its way in or out."""

    id: str
    task_definition: str
    created_s: float
    updated_s: float
    status: Literal["PRIMARY", "ACTIVE"] = "PRIMARY"
    rollout: Literal["IN_PROGRESS", "COMPLETED"] = "IN_PROGRESS"


@dataclass(slots=True, kw_only=True)
class LabService:
    """One service and its tasks. Not thread-safe: used under the world's lock."""

    cluster: str
    name: str
    around: Surroundings
    definition: Mapping[str, object]
    created_s: float
    desired: int
    deployments: list[Deployment] = field(default_factory=list)
    tasks: dict[str, LabTask] = field(default_factory=dict)
    stopped: deque[LabTask] = field(default_factory=lambda: deque(maxlen=MAX_STOPPED))
    events: deque[dict[str, object]] = field(default_factory=lambda: deque(maxlen=MAX_EVENTS))
    deleted: bool = False
    _steady: bool = False
    _retry_scheduled: bool = False

    def in_state(self, state: TaskState, deployment: str | None = None) -> list[LabTask]:
        return [
            task
            for task in self.tasks.values()
            if task.state == state and deployment in (None, task.deployment)
        ]

    def deploy(self, task_definition: str) -> None:
        """A new deployment becomes primary; the one before drains."""
        now_s = self.around.timeline.now_s
        for deployment in self.deployments:
            deployment.status = "ACTIVE"
        self.deployments.insert(
            0,
            Deployment(
                id=f"ecs-svc/{self.around.dice.getrandbits(63):019d}",
                task_definition=task_definition,
                created_s=now_s,
                updated_s=now_s,
            ),
        )
        self._steady = False
        self.around.timeline.after(0.0, self.reconcile)

    def set_desired(self, desired: int) -> None:
        """Ask for so many tasks; they follow."""
        if desired != self.desired:
            self.desired = desired
            self._steady = False
            self.deployments[0].updated_s = self.around.timeline.now_s
        self.around.timeline.after(0.0, self.reconcile)

    def reconcile(self) -> None:
        """Start and stop tasks until the primary deployment has as many as desired."""
        primary = self.deployments[0]
        old = [
            task
            for task in (*self.in_state("PENDING"), *self.in_state("RUNNING"))
            if task.deployment != primary.id
        ]
        new = [*self.in_state("RUNNING", primary.id), *self.in_state("PENDING", primary.id)]
        room = 2 * self.desired - len(old) - len(new) if old else self.desired
        for _ in range(min(self.desired - len(new), room)):
            if not self._start_task(primary.id):
                break
        # Starting tasks go first: ECS documents no order within a zone.
        for task in (
            list(reversed(new))[: len(new) - self.desired] if len(new) > self.desired else []
        ):
            self._stop_task(task)
        running_new = len(self.in_state("RUNNING", primary.id))
        surplus = len(old) - max(0, self.desired - running_new)
        for task in old[:surplus] if surplus > 0 else []:
            self._stop_task(task)
        self._settle()

    def _start_task(self, deployment: str) -> bool:
        around = self.around
        fault = around.faults.for_launch(self.name, around.timeline.now_s)
        if fault is not None:
            reason = launch_message(fault, instance_type="task", zone=around.region)
            self._note(f"was unable to place a task. Reason: {reason}")
            self._retry()
            return False
        task = LabTask(
            id=f"{around.dice.getrandbits(128):032x}",
            deployment=deployment,
            started_s=around.timeline.now_s,
        )
        self.tasks[task.id] = task
        self._note(f"has started 1 tasks: (task {task.id}).")
        around.timeline.after(around.settings.task_start_s, lambda: self._run_task(task))
        return True

    def _retry(self) -> None:
        if not self._retry_scheduled:
            self._retry_scheduled = True
            self.around.timeline.after(self.around.settings.launch_retry_s, self._try_again)

    def _try_again(self) -> None:
        self._retry_scheduled = False
        self.reconcile()

    def _run_task(self, task: LabTask) -> None:
        if task.state == "PENDING":
            task.state = "RUNNING"
            task.running_s = self.around.timeline.now_s
            self.reconcile()

    def _stop_task(self, task: LabTask) -> None:
        task.state = "DEACTIVATING"
        task.stopping_s = self.around.timeline.now_s
        self._note(f"has stopped 1 running tasks: (task {task.id}).")
        self.around.timeline.after(
            self.around.settings.task_stop_s, lambda: self._task_stopped(task)
        )

    def _task_stopped(self, task: LabTask) -> None:
        task.state = "STOPPED"
        task.stopped_s = self.around.timeline.now_s
        self.tasks.pop(task.id, None)
        self.stopped.append(task)
        self.reconcile()

    def _settle(self) -> None:
        primary = self.deployments[0]
        self.deployments = [
            one
            for one in self.deployments
            if one is primary or any(task.deployment == one.id for task in self.tasks.values())
        ]
        complete = (
            len(self.deployments) == 1
            and len(self.in_state("RUNNING")) == self.desired
            and not self.in_state("PENDING")
        )
        if complete and primary.rollout != "COMPLETED":
            primary.rollout = "COMPLETED"
            primary.updated_s = self.around.timeline.now_s
        if complete and not self._steady:
            self._steady = True
            self._note("has reached a steady state.")

    def _note(self, text: str) -> None:
        self.events.appendleft(
            {
                "id": self.around.new_id(),
                "createdAt": self.around.timeline.now_s,
                "message": f"(service {self.name}) {text}",
            }
        )

    def shown(self, *, tags: bool) -> dict[str, object]:
        """The service as DescribeServices shows it."""
        shown = dict(self.definition)
        if not tags:
            shown.pop("tags", None)
        return shown | {
            "status": self._status(),
            "desiredCount": self.desired,
            "runningCount": len(self.in_state("RUNNING")),
            "pendingCount": len(self.in_state("PENDING")),
            "taskDefinition": self.deployments[0].task_definition,
            "createdAt": self.created_s,
            "deployments": [self._shown_deployment(one) for one in self.deployments],
            "events": list(self.events),
        }

    def _status(self) -> str:
        if not self.deleted:
            return "ACTIVE"
        return "DRAINING" if self.tasks else "INACTIVE"

    def _shown_deployment(self, deployment: Deployment) -> dict[str, object]:
        primary = deployment.status == "PRIMARY"
        return {
            "id": deployment.id,
            "status": deployment.status,
            "taskDefinition": deployment.task_definition,
            "desiredCount": self.desired if primary else 0,
            "pendingCount": len(self.in_state("PENDING", deployment.id)),
            "runningCount": len(self.in_state("RUNNING", deployment.id)),
            "failedTasks": 0,
            "createdAt": deployment.created_s,
            "updatedAt": deployment.updated_s,
            "rolloutState": deployment.rollout,
            "rolloutStateReason": f"ECS deployment {deployment.id} "
            + ("completed." if deployment.rollout == "COMPLETED" else "in progress."),
        }
