"""An AWS that behaves: moto's server with time, limits, failures and alarms.

`LabServer` runs it in a thread, `LabProcess` as its own process; `LabControl` injects faults and
asks what was called; `create_ascension_stack` builds the group and the service of the stack.
Heavy imports (moto, boto3) happen when a server starts.
"""

from scaler.lab.control import LabControl
from scaler.lab.process import LabProcess
from scaler.lab.server import LabServer
from scaler.lab.settings import LabSettings
from scaler.lab.stack import create_ascension_stack, lab_clients

__all__ = [
    "LabControl",
    "LabProcess",
    "LabServer",
    "LabSettings",
    "create_ascension_stack",
    "lab_clients",
]
