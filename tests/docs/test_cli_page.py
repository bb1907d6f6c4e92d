"""The page of the command line is what the commands say of themselves.

Method: the page is made anew and compared; the exit codes are those of the error tree.
"""

import re

import pytest
from page_examples import DOCS

from scaler.cli.reference import reference
from scaler.model.errors import ConfigError, RefusedError, ScalerError, UnreachableError

PAGE = (DOCS / "reference/cli.md").read_text()


def test_the_page_is_current():
    assert reference() == PAGE, "python -m scaler.cli.reference > docs/reference/cli.md"


@pytest.mark.parametrize("error", [ScalerError, ConfigError, UnreachableError, RefusedError])
def test_each_error_s_exit_code_is_explained(error: type[ScalerError]):
    codes = re.findall(r"^\| (\d+) \| \S", PAGE, re.MULTILINE)

    assert str(error.exit_code) in codes


@pytest.mark.parametrize("name", ["run", "validate", "schema", "status", "explain", "policies"])
def test_each_command_has_its_section_with_an_example(name: str):
    section = PAGE.partition(f"## `ascension-scaler {name}`\n")[2].partition("\n## ")[0]

    assert f"$ ascension-scaler {name}" in section


def test_options_carry_their_environment_variable_and_default():
    assert "| `--url URL` | `ASCENSION_URL` | `http://127.0.0.1:9108` |" in PAGE
    assert "| `--config, -c PATH` | `ASCENSION_CONFIG` | required |" in PAGE
