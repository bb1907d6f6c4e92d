"""Small parts of the composition: what a changed file is known by, what trouble is called.

Method: real files; a publisher whose turn ends in Redis trouble.
"""

from pathlib import Path

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from scaler.compose.daemon import file_marks
from scaler.compose.publishing import publishing
from scaler.loop.daemon import RAN_WELL_S, restart_pause_s
from scaler.model.errors import UnreachableError


def test_a_changed_added_or_removed_file_changes_the_marks(tmp_path):
    seen = [file_marks(tmp_path)]
    (tmp_path / "a.yaml").write_text("1")
    seen.append(file_marks(tmp_path))
    (tmp_path / "a.yaml").write_text("12")
    seen.append(file_marks(tmp_path))
    (tmp_path / "a.yaml").unlink()
    seen.append(file_marks(tmp_path))

    assert seen[0] == seen[3] == []
    assert seen[1] != seen[2] != []


@pytest.mark.parametrize("fails", ["is_dir", "iterdir", "stat"])
def test_a_source_that_cannot_be_looked_at_has_no_marks_and_ends_no_loop(tmp_path, fails):
    """A mount that is away, a directory without permission."""

    class Away(type(tmp_path)):
        pass

    def raises(*_, **__):
        raise PermissionError(13, "Permission denied")

    setattr(Away, fails, raises)
    file = tmp_path / "a.yaml"
    file.write_text("1")
    assert file_marks(Away(file if fails == "stat" else tmp_path)) == []


def test_a_source_that_is_gone_has_no_marks():
    assert file_marks(Path("/nowhere/at/all.yaml")) == []


async def test_redis_trouble_while_publishing_is_trouble_and_no_bug():
    class Stack:
        async def run(self, *, interval_s: float) -> None:
            raise RedisConnectionError("Connection refused")

    with pytest.raises(UnreachableError, match="Connection refused"):
        await publishing(Stack(), 60.0)


@pytest.mark.parametrize(
    ("before_s", "ran_s", "pause_s"),
    [(0, 0, 1), (1, 0, 2), (16, 0, 30), (30, RAN_WELL_S - 1, 30), (30, RAN_WELL_S, 1)],
)
def test_a_service_that_ran_well_is_started_again_soon(before_s, ran_s, pause_s):
    assert restart_pause_s(before_s, ran_s=ran_s) == pause_s
