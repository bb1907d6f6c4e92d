"""Scaling policies: each a pure function of (view, own state) → recommendation."""
