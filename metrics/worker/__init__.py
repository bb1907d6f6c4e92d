"""What a worker imports to report its jobs; needs the standard library and redis, nothing else.

from metrics.worker import Reporter

reporter = Reporter("redis://queue.internal:6379/0")
with reporter.job("video-analysis", job_id="42"):
    ...
"""

from metrics.worker.reporter import Job, Reporter

__all__ = ["Job", "Reporter"]
