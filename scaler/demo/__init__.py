"""The demo: a day's load on embedded parts, beside the alarm-only design."""
