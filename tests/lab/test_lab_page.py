"""The lab's page names what the code has: operations, settings, faults and their fields.

Method: names are read from the code and looked for in docs/reference/lab.md; its example is run.
"""

import dataclasses
import re
from pathlib import Path
from typing import get_args

import pytest

from scaler.lab.faults import LAUNCH_FAILURES, Fault, FaultKind
from scaler.lab.operations import OPERATIONS, OVERLAYS, REFUSED
from scaler.lab.settings import LabSettings

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "lab.md").read_text()


@pytest.mark.parametrize("action", sorted({key[1] for key in (*OPERATIONS, *OVERLAYS, *REFUSED)}))
def test_every_operation_of_the_lab_is_on_the_page(action: str):
    assert action in PAGE


@pytest.mark.parametrize("field", dataclasses.fields(LabSettings), ids=lambda one: one.name)
def test_every_setting_is_on_the_page_with_its_default(field: dataclasses.Field):
    assert f"| `{field.name}` | {field.default:g} |" in PAGE


@pytest.mark.parametrize("name", [*get_args(FaultKind), *LAUNCH_FAILURES])
def test_every_fault_is_on_the_page(name: str):
    assert f"`{name}`" in PAGE


@pytest.mark.parametrize(
    "name",
    sorted({one.name for one in dataclasses.fields(Fault)} - {"kind", "id", "struck", "until_s"}),
)
def test_every_field_of_a_fault_is_on_the_page(name: str):
    assert f"`{name}`" in PAGE


def test_the_example_runs():
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)

    exec(compile(example, "docs/reference/lab.md", "exec"), {})
