"""When to decide: the controller, the daemon around it, its clock, pollers and wake-ups."""
