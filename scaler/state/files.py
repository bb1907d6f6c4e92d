"""Files that survive a crash: safe names, atomic replacement, one writer at a time."""

import asyncio
import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from scaler.model.errors import UnreachableError

T = TypeVar("T")

_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-_")
_MAX_STEM = 160


def file_stem(fleet: str) -> str:
    """A file name for any fleet name: one to one, no separators, no dots, no upper case.

    Other bytes are written as %XX (so that `A` and `a` differ on every file system). What would be
    too long for a file system ends in a hash instead.
    """
    name = fleet.encode("utf-8", "surrogatepass")
    stem = "".join(chr(byte) if byte in _PLAIN else f"%{byte:02x}" for byte in name)
    if len(stem) <= _MAX_STEM:
        return stem
    return f"{stem[:_MAX_STEM]}%%{hashlib.sha256(name).hexdigest()[:16]}"


def replace_file(path: Path, content: bytes) -> None:
    """Put the content in the file's place: after a crash there is the old or the new, never half.

    A temporary file that a crash leaves behind is overwritten by the next write.
    """
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)  # the rename itself must survive a power cut
    finally:
        os.close(directory)


@contextmanager
def only_writer(lock: Path, *, timeout_s: float) -> Iterator[None]:
    """Hold the lock file against other processes of this host; the kernel frees it on a crash.

    Raises: TimeoutError when somebody keeps it longer than `timeout_s`.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("ab") as file:
        deadline_s = time.monotonic() + timeout_s
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline_s:
                    raise TimeoutError(f"{lock} is held by another process") from None
                time.sleep(0.005)
        yield  # closing the file unlocks it


class FileThread:
    """One thread for one directory: work is done in order, and a hung disk stalls nobody else."""

    def __init__(self, name: str, *, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)

    async def run(self, purpose: str, work: Callable[[], T]) -> T:
        """What `work` returns. Raises: UnreachableError for OSError, or after the timeout; the
        thread may then still be writing."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except (OSError, TimeoutError) as error:
            why = str(error) or f"no answer within {self._timeout_s:g}s"
            raise UnreachableError(f"the disk could not {purpose}", why=why) from error
