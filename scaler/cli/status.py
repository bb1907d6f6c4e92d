"""`ascension-scaler status`: one look that tells how things stand."""

import json
import sys
import time
from typing import cast

from scaler.api.client import get_json
from scaler.model.errors import UnreachableError
from scaler.model.spec import JsonValue
from scaler.model.units import format_duration

CLEAR = "\x1b[H\x1b[2J"
"""Cursor home, screen empty: a watched status stays in its place."""

LONG_S = 120.0
"""From here on people read minutes: `oldest 49m42s`."""

Facts = dict[str, JsonValue]


def status_command(url: str, *, watch_s: float | None, json_output: bool) -> int:
    """Print the daemon's status, once or each `watch_s` seconds. Returns: 0.

    Raises: UnreachableError when no daemon answers; a watch that has seen one waits for it.
    """
    facts = _facts(url)
    while True:
        if json_output:
            indent = None if watch_s else 2
            sys.stdout.write(json.dumps(facts, indent=indent, ensure_ascii=False) + "\n")
        else:
            _show(page(facts), watched=watch_s is not None)
        sys.stdout.flush()
        if watch_s is None:
            return 0
        time.sleep(watch_s)
        facts = _facts_again(url, watch_s=watch_s)


def _facts(url: str) -> Facts:
    return cast("Facts", get_json(url, "/api/v1/status"))


def _facts_again(url: str, *, watch_s: float) -> Facts:
    """A restart is when a watch is most wanted, so it goes on, and says so once."""
    said = ""
    while True:
        try:
            return _facts(url)
        except UnreachableError as error:
            if said != (said := str(error)):
                print(f"ascension-scaler: {error}", file=sys.stderr)
            time.sleep(watch_s)


def _show(text: str, *, watched: bool) -> None:
    if watched and sys.stdout.isatty():
        sys.stdout.write(CLEAR + text)
    else:
        sys.stdout.write(f"{text}\n" if watched else text)


def page(facts: Facts) -> str:
    """The status as text."""
    mark = " (dry run: nothing is written)" if facts.get("dry_run") else ""
    ready = "ready" if facts.get("ready") else "NOT ready"
    lines = [f"ascension-scaler {facts['version']} · {facts['environment']} · {ready}{mark}"]
    lines += [f"  ! {problem}" for problem in cast("list[str]", facts.get("problems") or [])]
    lines.append("")
    queues = cast("dict[str, Facts]", facts["queues"])
    lines += [_queue_line(name, queue) for name, queue in queues.items()]
    for name, fleet in cast("dict[str, Facts]", facts["fleets"]).items():
        lines += ["", *_fleet_lines(name, fleet)]
    return "\n".join(lines) + "\n"


def _queue_line(name: str, queue: Facts) -> str:
    if "missing" in queue:
        return f"queue {name}: no reading ({queue['missing']})"
    parts = [f"{queue['waiting']} waiting", f"{_shown(queue['in_flight'])} in flight"]
    if queue.get("delayed"):
        parts.append(f"{queue['delayed']} delayed")
    oldest, p95 = queue.get("oldest_age_s"), queue.get("processing_p95_s")
    if isinstance(oldest, int | float) and queue["waiting"]:
        long = f"{oldest:.0f} s" if oldest < LONG_S else format_duration(round(oldest))
        parts.append(f"oldest {long}")
    if isinstance(p95, int | float):
        parts.append(f"processing p95 {p95:.1f} s")
    return f"queue {name}: {', '.join(parts)}"


def _fleet_lines(name: str, fleet: Facts) -> list[str]:
    capacity = cast("Facts", fleet["capacity"])
    bounds = cast("Facts", fleet["bounds"])
    if "missing" in capacity:
        stands = f"target unknown ({capacity['missing']})"
    else:
        stands = f"desired {capacity['desired']}, in service {capacity['in_service']}"
        if capacity["pending"]:
            stands += f", {capacity['pending']} pending"
    lines = [
        f"fleet {name}: {stands} · {bounds['min']}–{bounds['max']} · scale-in {fleet['scale_in']}"
        + (" · dry run" if fleet["dry_run"] else "")
    ]
    if fleet.get("last_decision"):
        lines.append(f"  {fleet['last_decision']}")
    attained = fleet.get("attainment_ratio")
    if isinstance(attained, int | float):
        lines.append(f"  {attained:.1%} started in time; promised: {fleet['objective']}")
    if capacity.get("launch_failure"):
        lines.append(f"  ! launch failed: {capacity['launch_failure']}")
    lines += [f"  ! {conflict}" for conflict in cast("list[str]", fleet.get("conflicts") or [])]
    return lines


def _shown(value: JsonValue) -> str:
    return "unknown" if isinstance(value, dict) else str(value)
