"""The one place that knows every concrete class.

`adapters` turns sections of the configuration into objects, `daemon` wires them together.
"""
