"""`python -m scaler.demo.cloud`: the endpoint of the demo, in a process of its own.

It imports what is slow, says `{"ready": true}`, reads the shared clock from its first line of
standard input, then serves, builds both designs' stacks, and writes one line of JSON for each
change of an instance. It ends when its standard input does, as it does when the demo is gone.
"""

import json
import sys
import threading

from scaler.lab.groups import InstanceEvent
from scaler.lab.server import LabServer, preload
from scaler.lab.settings import LabSettings
from scaler.lab.stack import create_ascension_stack, lab_clients
from scaler.loop.clock import CLOCK_VARIABLE, clock_from_environment


def main() -> int:
    """Serve until standard input ends."""
    preload()
    _write({"ready": True})
    spelled = sys.stdin.readline().strip()
    if not spelled:
        return 0
    clock = clock_from_environment({CLOCK_VARIABLE: spelled})
    with LabServer(clock, settings=LabSettings()) as server:
        server.on_instance(_tell)
        stack = create_ascension_stack(lab_clients(server.url), alarm_only=True)
        service = f"{stack.cluster}/{stack.service}"
        _write({"url": server.url, "alarm": stack.alarm, "service": service})
        while sys.stdin.readline():
            pass
    return 0


def _tell(event: InstanceEvent) -> None:
    _write(
        {
            "instance": event.instance_id,
            "group": event.group,
            "state": event.state,
            "at_s": event.at_s,
        }
    )


_writing = threading.Lock()


def _write(line: dict[str, object]) -> None:
    text = json.dumps(line)
    with _writing:
        try:
            sys.stdout.write(f"{text}\n")
            sys.stdout.flush()
        except OSError:
            return  # nobody listens any more: standard input ends in a moment


if __name__ == "__main__":
    sys.exit(main())
