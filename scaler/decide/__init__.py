"""Pure: a snapshot becomes a decision. No clock, no I/O, no dice."""
