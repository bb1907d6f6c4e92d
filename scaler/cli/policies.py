"""`ascension-scaler policies`: what is installed, with its parameters."""

import json
import sys

from policies.describe import parameters, summary
from policies.registry import available, broken


def policies_command(*, json_output: bool) -> int:
    """Print each policy's summary and parameters. Returns: 0; 3 when an installed one is broken."""
    installed = sorted(available().items())
    if json_output:
        document = {
            "policies": {
                name: {
                    "summary": summary(policy.Params),
                    "parameters": policy.Params.model_json_schema(),
                }
                for name, policy in installed
            },
            "broken": dict(broken()),
        }
        sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    else:
        for name, policy in installed:
            print(f"{name}: {summary(policy.Params)}")
            for row in parameters(policy.Params):
                told = row.default if row.default == "required" else f"default {row.default}"
                print(f"  {row.path:<28} {row.type}; {told}\n  {'':<28} {row.description}")
            print()
    for name, reason in broken().items():
        print(f"policy {name} is installed and cannot be used: {reason}", file=sys.stderr)
    return 3 if broken() else 0
