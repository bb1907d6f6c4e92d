"""`ascension-scaler explain`: why it did what it did, proven."""

import json
import re
import sys
import urllib.parse
from datetime import UTC, datetime
from typing import cast

from scaler.api.client import get_json
from scaler.loop.clock import clock_from_environment
from scaler.model.errors import ConfigError
from scaler.model.spec import JsonValue
from scaler.model.units import parse_duration_s

UNIX_SECONDS = re.compile(r"[0-9]{9,11}(\.[0-9]+)?")

Facts = dict[str, JsonValue]

ANSWER_S = 20.0
"""Longer than the daemon waits for the store of its decision log, so that its own words arrive."""


def explain_command(fleet: str, *, at: str | None, last: int, url: str, json_output: bool) -> int:
    """Print past decisions, oldest first, each computed again from its inputs.

    Returns: 0; 3 when a decision could not be proven, 3 also when none is on record.
    """
    query = {"last": str(last)}
    if at is not None:
        query["at"] = f"{moment_s(at, now_s=clock_from_environment().wall_s()):.3f}"
    path = f"/api/v1/fleets/{urllib.parse.quote(fleet, safe='')}/explain"
    answer = cast(
        "Facts", get_json(url, f"{path}?{urllib.parse.urlencode(query)}", timeout_s=ANSWER_S)
    )
    decisions = cast("list[Facts]", answer["decisions"])
    if json_output:
        sys.stdout.write(json.dumps(answer, indent=2, ensure_ascii=False) + "\n")
    elif not decisions:
        print(f"no decision of {fleet} is on record for that time", file=sys.stderr)
    else:
        sys.stdout.write("\n".join(page(decision) for decision in decisions))
    return 0 if decisions and all(decision["proven"] for decision in decisions) else 3


def moment_s(text: str, *, now_s: float) -> float:
    """Unix seconds of `-90m`, `14:02` (the last such time, UTC), an ISO 8601 time (UTC if bare),
    or of Unix seconds, as `--json` tells them.

    Raises: ConfigError, with what would be right.
    """
    try:
        if text.startswith("-"):
            return now_s - parse_duration_s(text[1:])
        if re.fullmatch(r"\d{1,2}:\d{2}(:\d{2})?", text):
            today = datetime.fromtimestamp(now_s, UTC).date().isoformat()
            at_s = _iso_s(f"{today}T{text.zfill(5) if text.count(':') == 1 else text}")
            return at_s if at_s <= now_s else at_s - 86_400
        return float(text) if UNIX_SECONDS.fullmatch(text) else _iso_s(text)
    except ValueError:
        raise ConfigError(
            f"--at {text} is no time",
            fix="write -90m, 14:02, 2026-03-02T14:02:11 (UTC), or Unix seconds",
        ) from None


def page(record: Facts) -> str:
    """One decision as text."""
    at = datetime.fromtimestamp(cast("float", record["at_s"]), UTC).isoformat("T", "seconds")
    lines = [f"{at}  {record['fleet']}  {record['sentence']}"]
    for name, queue in cast("dict[str, Facts]", record["queues"]).items():
        facts = ", ".join(f"{key} {_value(value)}" for key, value in queue.items())
        lines.append(f"  saw       {name}: {facts}")
    lines.append(
        f"  stood     desired {record['current']}, in service {record['in_service']}, "
        f"pending {record['pending']}"
    )
    for r in cast("list[Facts]", record["recommendations"]):
        wish = "no opinion" if r["desired"] is None else f"wants {r['desired']}"
        lines.append(f"  policy    {r['policy']} {wish}: {r['reason']}")
    lines += [
        f"  guardrail {e['guardrail']}: {e['before']} → {e['after']}, {e['reason']}"
        for e in cast("list[Facts]", record["effects"])
    ]
    outcome = f"{record['outcome']} {record['outcome_reason']}".strip()
    lines.append(f"  outcome   {outcome} · epoch {record['epoch']} · woken by {record['wakeup']}")
    if record["proven"]:
        lines.append("  proof     computed again from its inputs: the same decision")
    else:
        lines += [f"  NOT PROVEN  {d}" for d in cast("list[str]", record["differences"])]
    return "\n".join(lines) + "\n"


def _iso_s(text: str) -> float:
    at = datetime.fromisoformat(text)
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def _value(value: JsonValue) -> str:
    if isinstance(value, dict):
        return f"unknown ({value.get('missing')})"
    return f"{value:.1f}" if isinstance(value, float) else str(value)
