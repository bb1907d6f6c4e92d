"""The lab's endpoint in a thread of this process."""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from scaler.lab.groups import InstanceEvent
from scaler.lab.settings import LabSettings
from scaler.loop.clock import SystemClock

if TYPE_CHECKING:
    from scaler.lab.http_server import LabHttpServer
    from scaler.lab.world import World


def preload() -> None:
    """Import all that the first `start` of a process would spend seconds on."""
    from scaler.lab.moto_backend import MotoBackend

    MotoBackend().warm_up("us-east-1")


class LabServer:
    """An AWS endpoint at `url`, with real HTTP on 127.0.0.1.

    Args:
        clock: the lab's time; share it with whoever lives in the lab.
        port: 0 picks a free one.
        boot_s, terminate_s, task_start_s, seed: see LabSettings; `settings` gives all of them.

    `start` imports moto (some three seconds, once a process: an argument for making a fast clock
    after `preload`) and sets MOTO_EC2_LOAD_DEFAULT_AMIS=false
    in the environment unless it is set, since moto's catalogue of images costs two more.
    """

    def __init__(
        self,
        clock: SystemClock,
        *,
        port: int = 0,
        boot_s: float = 180.0,
        terminate_s: float = 30.0,
        task_start_s: float = 40.0,
        seed: int = 1,
        settings: LabSettings | None = None,
    ) -> None:
        self.clock = clock
        self.settings = settings or LabSettings(
            boot_s=boot_s, terminate_s=terminate_s, task_start_s=task_start_s, seed=seed
        )
        self._port = port
        self._world: World | None = None
        self._http: LabHttpServer | None = None
        self._threads: list[threading.Thread] = []

    def start(self) -> "LabServer":
        """Serve until `stop`. Raises: OSError when the port is taken."""
        from scaler.lab.application import LabApplication
        from scaler.lab.http_server import LabHttpServer
        from scaler.lab.moto_backend import MotoBackend
        from scaler.lab.world import World

        moto = MotoBackend()
        moto.warm_up("us-east-1")
        world = World(self.clock, self.settings, moto)
        http = LabHttpServer(LabApplication(world), port=self._port)
        self._world, self._http = world, http
        self._threads = [
            threading.Thread(target=http.serve_forever, args=(0.05,), name="lab-http", daemon=True),
            threading.Thread(target=world.live, name="lab-time", daemon=True),
            threading.Thread(target=world.tell, name="lab-events", daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        return self

    def stop(self) -> None:
        """Stop serving; connections that hang in a fault are cut."""
        if self._world is None or self._http is None:
            return
        self._world.stop()
        self._http.shutdown()
        self._http.cut_all()
        self._http.server_close()
        for thread in self._threads:
            thread.join(timeout=10)
        self._world = self._http = None

    def __enter__(self) -> "LabServer":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Raises: RuntimeError before `start`."""
        if self._http is None:
            raise RuntimeError("the lab is not running: call start() first")
        return f"http://127.0.0.1:{self._http.port}"

    def on_instance(self, listener: Callable[[InstanceEvent], None]) -> None:
        """Call `listener` at every change of an instance's state, in order, in a thread of the
        lab's that does nothing else.

        Raises: RuntimeError before `start`.
        """
        if self._world is None:
            raise RuntimeError("the lab is not running: call start() first")
        self._world.listeners.append(listener)
