"""What is shipped is true: configurations load, the schema and the reference page are current.

Method: the files themselves, the schema by an independent validator, the page's own examples.
"""

import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from scaler.cli.schema import schema_command
from scaler.config.editor import json_schema
from scaler.config.load import load
from scaler.config.reference import MARKER, reference, schema_text, write
from scaler.config.schema import EcsTarget
from scaler.config.specs import fleet_specs
from scaler.model.spec import JsonValue

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "deploy/config").glob("*.yaml"))
PAGE = ROOT / "docs/reference/configuration.md"
ENVIRON = {"REDIS_URL": "redis://127.0.0.1:6379/0"}


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_shipped_configurations_load_with_a_redis_url_only_and_without_warning(file):
    result = load([file], ENVIRON)

    assert result.warnings == ()
    assert result.config.fleets


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_shipped_configurations_are_valid_for_editors(file):
    text = file.read_text(encoding="utf-8")

    header = text.splitlines()[0]
    assert header == "# yaml-language-server: $schema=./schema.json"
    jsonschema.validate(yaml.safe_load(text), json.loads(schema_text()))


def test_the_smallest_configuration_has_at_most_15_lines():
    lines = (ROOT / "deploy/config/minimal.yaml").read_text(encoding="utf-8").splitlines()

    assert len(lines) <= 15


def test_production_is_the_design_with_what_it_forgot():
    gpu, api = fleet_specs(load([ROOT / "deploy/config/production.yaml"], ENVIRON).config)

    assert (gpu.bounds.min, gpu.bounds.max, gpu.scale_in) == (2, 10, "hold")
    assert gpu.behaviour.default_cooldown_s == 300
    step, tracking = gpu.policies
    assert (step.type, tracking.type) == ("step", "target_tracking")
    assert step.params["kind"] == "simple"
    assert step.params["scale_out"] == {
        "above": 50,
        "periods": 2,
        "datapoints": 2,
        "adjustment": "change",
        "steps": [{"change": 2}],
    }
    assert step.params["period"] == "60s"
    assert "scale_in" in step.params
    assert (api.bounds.min, api.bounds.max, api.scale_in) == (3, 10, "deregister")
    assert api.change_kind == "floor"


def test_the_eu_differs_in_its_region_only():
    us, eu = (
        yaml.safe_load((ROOT / "deploy/config" / name).read_text(encoding="utf-8"))
        for name in ("production.yaml", "production-eu.yaml")
    )

    assert us["aws"].pop("region") == "us-east-1"
    assert eu["aws"].pop("region") == "eu-west-1"
    assert us == eu


def test_the_api_floor_leaves_aws_target_tracking_in_place():
    config = load([ROOT / "deploy/config/production.yaml"], ENVIRON).config

    target = config.fleets["api"].target
    assert isinstance(target, EcsTarget)
    assert target.mode == "floor"


def test_generated_files_are_current(tmp_path):
    for name in ("deploy/config/schema.json", "docs/reference/configuration.md"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())

    write(tmp_path)

    for name in ("deploy/config/schema.json", "docs/reference/configuration.md"):
        current = (tmp_path / name).read_text(encoding="utf-8")
        assert (ROOT / name).read_text(encoding="utf-8") == current, (
            "run: python -m scaler.config.reference"
        )


def test_the_schema_command_prints_the_shipped_schema(capsys):
    assert schema_command() == 0

    shipped = (ROOT / "deploy/config/schema.json").read_text(encoding="utf-8")
    assert capsys.readouterr().out == shipped


def test_the_schema_is_a_schema_and_every_field_is_described():
    schema = json_schema()

    jsonschema.Draft202012Validator.check_schema(schema)
    undescribed = list(_undescribed(schema, "config"))
    assert undescribed == []


def _undescribed(node: JsonValue, path: str):
    if isinstance(node, list):
        for index, item in enumerate(node):
            yield from _undescribed(item, f"{path}[{index}]")
    if not isinstance(node, dict):
        return
    for name, field in node.get("properties", {}).items():
        if not field.get("description"):
            yield f"{path}.{name}"
    for key, value in node.items():
        yield from _undescribed(value, f"{path}.{key}")


@pytest.mark.parametrize(
    ("change", "valid"),
    [
        ({"loop": {"tick": "5m"}}, True),
        ({"loop": {"tick": "${TICK}"}}, True),
        ({"loop": {"tick": 5}}, False),
        ({"loop": {"tik": "5m"}}, False),
        ({"decisions": {"keep": "${KEEP}"}}, True),
        ({"decisions": {"keep": "many"}}, False),
        ({"decisions": {"keep": 0}}, False),
        ({"queues": {"a b": {"type": "list", "key": "a"}}}, False),
        ({"queues": {"a": {"type": "lst", "key": "a"}}}, False),
    ],
)
def test_the_schema_refuses_what_loading_refuses(change, valid):
    document = yaml.safe_load((ROOT / "deploy/config/minimal.yaml").read_text(encoding="utf-8"))
    validator = jsonschema.Draft202012Validator(json_schema())

    assert validator.is_valid(document | change) is valid


@pytest.mark.parametrize(
    ("policy", "valid"),
    [
        ({"type": "target_tracking"}, True),
        ({"type": "target_tracking", "name": "x", "target": 2}, True),
        ({"type": "target_tracking", "trget": 2}, False),
        ({"type": "target_tracking", "target": 0}, False),
        ({"type": "fixed"}, False),
        ({"type": "nonsense"}, False),
    ],
)
def test_the_schema_knows_the_parameters_of_policies(policy, valid):
    document = yaml.safe_load((ROOT / "deploy/config/minimal.yaml").read_text(encoding="utf-8"))
    document["fleets"]["workers"]["policies"] = [policy]

    assert jsonschema.Draft202012Validator(json_schema()).is_valid(document) is valid


def test_the_examples_of_the_page_load(tmp_path):
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)

    assert len(blocks) >= 2
    for number, block in enumerate(blocks):
        file = tmp_path / f"{number}.yaml"
        file.write_text(block, encoding="utf-8")
        assert load([file], ENVIRON).warnings == ()


def test_the_errors_that_the_page_shows_are_the_errors_that_come():
    page = PAGE.read_text(encoding="utf-8").partition(MARKER)[0]

    assert "fleets.gpu-workers.bounds.max: 1 — must be at least bounds.min, which is 2; " in page
    assert "is no key of this section; did you mean policies?" in page


def test_the_page_has_a_section_for_every_part():
    text = reference()

    for part in ("redis", "queues.NAME", "fleets.NAME.behaviour.rate.out[]", "sentry"):
        assert f"`{part}" in text
    assert "policies[step].scale_out.steps[]" in text
