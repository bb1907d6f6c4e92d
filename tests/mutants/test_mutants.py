"""Tests that can fail: each deliberately broken variant is caught by the test that names it.

Method: a pytest process of its own imports the module with one line changed and runs that test;
it must fail by an assertion (exit 1), not by an error in collecting (exit 2 and above).
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from catalogue import MUTANTS  # noqa: E402 - found beside this file


@pytest.mark.parametrize("name", MUTANTS)
def test_a_broken_variant_is_caught(name: str):
    mutant = MUTANTS[name]
    run = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-x", "-p", "mutate", "-p", "no:cacheprovider"),
            *("-p", "no:xdist", "--override-ini=addopts=", mutant.caught_by),
        ],
        cwd=HERE.parent.parent,
        env={**os.environ, "PYTHONPATH": str(HERE), "MUTANT": name},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 1, run.stdout[-2000:] + run.stderr[-1000:]
    assert "1 failed" in run.stdout
