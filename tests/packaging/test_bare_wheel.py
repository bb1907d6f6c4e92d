"""The bare wheel needs `redis` and nothing else: what a GPU worker installs to report its jobs.

Method: the wheel is built and installed, without extras, into an environment of its own; then the
worker's client is imported there and the command line is asked for what it cannot do yet.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def uv() -> str:
    found = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    if found is None:
        pytest.skip("uv is not installed beside this Python; `make install` brings it")
    return found


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` directory of an environment that holds the wheel and what it requires."""
    place = tmp_path_factory.mktemp("bare")
    built = run(uv(), "build", "--wheel", "--quiet", "--out-dir", place, ROOT, cwd=place)
    assert built.returncode == 0, built.stderr
    (wheel,) = place.glob("*.whl")
    made = run(uv(), "venv", "--quiet", "--python", sys.executable, place / "env", cwd=place)
    assert made.returncode == 0, made.stderr
    python = place / "env/bin/python"
    installed = run(uv(), "pip", "install", "--quiet", "--python", python, wheel, cwd=place)
    assert installed.returncode == 0, installed.stderr
    return python.parent


def test_the_wheel_carries_the_demo_and_the_types(bare: Path):
    (site,) = (bare.parent / "lib").glob("python*/site-packages")
    for packed in ("scaler/demo/demo.yaml", "scaler/py.typed", "metrics/py.typed"):
        assert (site / packed).is_file(), packed


def test_it_brings_redis_and_nothing_else(bare: Path, tmp_path: Path):
    listed = run(uv(), "pip", "list", "--format", "json", "--python", bare / "python", cwd=tmp_path)
    names = {package["name"] for package in json.loads(listed.stdout)}
    # redis itself asks for async-timeout on Python before 3.11.3
    assert names - {"async-timeout"} == {"ascension-scaler", "redis"}


def test_a_worker_reports_with_it(bare: Path, tmp_path: Path):
    code = (
        "import sys, metrics.worker as w; assert w.Reporter; "
        "heavy = {'boto3', 'pydantic', 'structlog', 'yaml'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    done = run(bare / "python", "-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        (["run", "-c", "x.yaml"], "daemon"),
        (["status"], "daemon"),
        (["--help"], "daemon"),
        (["demo"], "lab"),
    ],
)
def test_the_command_line_says_what_to_install(
    bare: Path, tmp_path: Path, command: list[str], extra: str
):
    done = run(bare / "ascension-scaler", *command, cwd=tmp_path)
    assert done.returncode == 2
    assert f"pip install 'ascension-scaler[{extra}]'" in done.stderr
    assert "Traceback" not in done.stderr
