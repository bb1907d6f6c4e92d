"""The daemon over HTTP: metrics, health, status, decisions; and the client that asks it."""
