"""A small configuration that is right, to change one thing of at a time."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from scaler.config.load import Loaded, load
from scaler.config.report import ConfigProblems, Problem

GOOD = """\
version: 1
redis: {url: "redis://127.0.0.1:6379/0"}
queues:
  videos: {type: list, key: videos}
fleets:
  gpu:
    target: {type: asg, name: gpu-workers}
    signals: [videos]
    bounds: {min: 2, max: 10}
    policies: [{type: target_tracking}]
"""

Load = Callable[..., Loaded]
Refuse = Callable[..., tuple[Problem, ...]]


@pytest.fixture
def good() -> str:
    return GOOD


@pytest.fixture
def loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Loads texts as files `a.yaml`, `b.yaml`, …"""
    monkeypatch.chdir(tmp_path)

    def run(*texts: str, environ: Mapping[str, str] | None = None) -> Loaded:
        files = [Path(f"{name}.yaml") for name, _ in zip("abcdef", texts, strict=False)]
        for file, text in zip(files, texts, strict=True):
            file.write_text(text, encoding="utf-8")
        return load(files, environ or {})

    return run


@pytest.fixture
def refused(loaded: Load) -> Refuse:
    """The problems of texts that must not load."""

    def run(*texts: str, environ: Mapping[str, str] | None = None) -> tuple[Problem, ...]:
        with pytest.raises(ConfigProblems) as caught:
            loaded(*texts, environ=environ)
        return caught.value.problems

    return run
