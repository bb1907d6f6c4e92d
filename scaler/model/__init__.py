"""The vocabulary everything else is written in: values, ports, units, errors.

Standard library only, no clock, no I/O. Import the modules by name
(`from scaler.model.readings import Capacity`); nothing is re-exported here.
"""
