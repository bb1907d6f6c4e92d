"""`ascension-scaler schema`: the JSON Schema of the configuration, for editors."""

import sys

from scaler.config.reference import schema_text


def schema_command() -> int:
    """Print the JSON Schema, the installed policies' parameters included. Returns: 0."""
    sys.stdout.write(schema_text())
    return 0
