"""Telling others: CloudWatch data and the Prometheus page."""
