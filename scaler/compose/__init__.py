"""The one place that knows every concrete class.

`adapters` turns sections of the configuration into objects; `observing` and `publishing` group
those that see and those that tell; `daemon` wires all of it together, generation by generation.
"""
