"""`ascension-scaler policies`: what is installed, with its parameters."""

import json
import sys

from policies.registry import available


def policies_command(*, json_output: bool) -> int:
    """Print each policy's summary and parameters. Returns: 0."""
    described = {
        name: {
            "summary": _summary(policy.Params.__doc__),
            "parameters": policy.Params.model_json_schema(),
        }
        for name, policy in sorted(available().items())
    }
    if json_output:
        sys.stdout.write(json.dumps(described, indent=2) + "\n")
        return 0
    for name, policy in sorted(available().items()):
        print(f"{name}\n  {_summary(policy.Params.__doc__)}")
        for key, field in policy.Params.model_fields.items():
            told = "required" if field.is_required() else f"default {field.get_default()!r}"
            print(f"  {field.alias or key:<14} {field.description or ''} ({told})")
        print()
    return 0


def _summary(text: str | None) -> str:
    return (text or "").strip().partition("\n")[0]
