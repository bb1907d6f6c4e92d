"""What outlives a tick and a process: a fleet's memory, the right to act, the decision log."""
