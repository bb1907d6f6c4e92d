"""Configuration: from YAML files to validated, immutable values, with every error placed.

load.py       files → one tree → `Config`, or every problem at once
tree.py       YAML with a file, line and column for every key and value; ${ENV}
schema.py     what may be written (pydantic), with a description of every field
findings.py   pydantic's errors in our words; `check.py`: what spans several fields
report.py     a problem, as text and as JSON
specs.py      `Config` → the `FleetSpec`s and policies that decide
editor.py     the JSON Schema; `reference.py`: the reference page, both generated
"""
