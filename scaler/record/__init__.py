"""What becomes of a decision: the log, counters, a bounded timeline."""
