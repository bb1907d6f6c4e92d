"""The reference page of policies is current: tables from the parameters, examples that build.

`python tests/policies/test_policies_reference.py` writes the tables anew.
"""

import re
from pathlib import Path

import pytest
import yaml

from policies import registry
from policies.describe import markdown_table, parameters, summary
from scaler.model.spec import PolicySpec

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "policies.md"
TABLE = re.compile(r"(<!-- parameters: (\w+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
OWN = ("fixed", "schedule", "step", "target_tracking")


def rendered(text: str) -> str:
    """The page with its tables as the code has them."""
    return TABLE.sub(
        lambda found: (
            f"{found[1]}\n{markdown_table(registry.available()[found[2]].Params)}\n\n{found[4]}"
        ),
        text,
    )


def examples() -> list[dict[str, object]]:
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return [yaml.safe_load(block) for block in blocks]


def test_the_tables_are_those_of_the_code():
    text = PAGE.read_text()

    assert rendered(text) == text, f"write them anew: python {Path(__file__).name}"


def test_every_policy_has_its_table_and_an_example():
    text = PAGE.read_text()

    assert sorted(found[1] for found in TABLE.findall(text)) == sorted(OWN)
    assert {example["type"] for example in examples()} == set(OWN)


@pytest.mark.parametrize("example", examples(), ids=lambda example: example["type"])
def test_every_example_builds(example):
    params = {key: value for key, value in example.items() if key != "type"}

    assert registry.build(PolicySpec(name="a", type=example["type"], params=params))


@pytest.mark.parametrize("name", OWN)
def test_every_policy_and_parameter_is_described(name):
    params = registry.available()[name].Params

    assert summary(params)
    assert [row.path for row in parameters(params) if not row.description] == []


def test_nested_parameters_follow_the_one_that_holds_them():
    paths = [row.path for row in parameters(registry.available()["step"].Params)]

    assert paths.index("scale_out.steps[].change") > paths.index("scale_out.steps")
    assert "scale_in.below" in paths


if __name__ == "__main__":
    PAGE.write_text(rendered(PAGE.read_text()))
