"""How slow this AWS is. Seconds are virtual: they pass on the lab's clock."""

import math
import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class LabSettings:
    """The times of the lab, all in virtual seconds.

    Attributes:
        boot_s: launch of an instance → InService; the median when `boot_sigma` is above zero.
        boot_sigma: spread of the boot time: the standard deviation of its logarithm (lognormal
            draws); 0 makes it constant.
        terminate_s: Terminating → gone.
        task_start_s, task_stop_s: start of a task → RUNNING; DEACTIVATING → STOPPED.
        launch_retry_s: a group retries a failed launch after this long, then after twice as
            long, up to five times as long. AWS documents the retries, not their spacing.
        alarm_lag_s: alarms look this long after each full minute, so that what was published
            in the minute has arrived. AWS documents one evaluation a minute, not its phase.
        seed: of everything drawn.
    """

    boot_s: float = 180.0
    boot_sigma: float = 0.0
    terminate_s: float = 30.0
    task_start_s: float = 40.0
    task_stop_s: float = 30.0
    launch_retry_s: float = 60.0
    alarm_lag_s: float = 5.0
    seed: int = 1

    def boot_draw_s(self, dice: random.Random) -> float:
        """One boot time."""
        if not self.boot_sigma:
            return self.boot_s
        return self.boot_s * math.exp(dice.gauss(0.0, self.boot_sigma))
