"""Queues in Redis: what each type says about itself, one poll for all of them, and wake-ups.

A queue type is one file with one frozen class that follows `metrics.queues.base.QueueSource`.
"""
