"""The sentence read at 3 a.m., and the record it stands in."""

from collections.abc import Mapping

from scaler.decide.derive import in_flight
from scaler.model.change import EndWorkers, Outcome
from scaler.model.decision import Decision, Effect, Recommendation
from scaler.model.readings import Missing, QueueSample, WorkerStats
from scaler.model.spec import JsonValue


def sentence(decision: Decision, outcome: Outcome) -> str:
    """What was decided and why, complete in one line."""
    if isinstance(decision.current, Missing):
        return f"hold: {decision.frozen[-1]}"
    parts = [f"{headline(decision)}: {_because(decision)}"]
    if decision.effects:
        parts += [_effect_words(effect) for effect in decision.effects]
    elif decision.change is not None:
        parts.append("no guardrail changed it")
    if decision.frozen and not any(e.guardrail == "freeze" for e in decision.effects):
        parts.append(f"scale-in is frozen: {decision.frozen[0]}")
    if decision.change is not None and outcome.kind != "applied":
        parts.append(f"{outcome.kind}: {outcome.reason}" if outcome.reason else outcome.kind)
    return "; ".join(parts)


def headline(decision: Decision) -> str:
    """`scale out 3 → 5`, `stay at 3`, `hold`."""
    if decision.change is None:
        return "hold" if isinstance(decision.current, Missing) else f"stay at {decision.current}"
    verb = "scale out" if decision.direction == "out" else "scale in"
    return f"{verb} {decision.change.current} → {decision.change.desired}"


def to_record(decision: Decision, outcome: Outcome, *, epoch: int = 0) -> dict[str, JsonValue]:
    """The decision as one flat JSON-shaped record: the log event, the API's answer."""
    capacity = decision.snapshot.capacity.value
    return {
        "at_s": decision.at_s,
        "fleet": decision.fleet,
        "current": None if isinstance(decision.current, Missing) else decision.current,
        "desired": decision.desired,
        "in_service": None if isinstance(capacity, Missing) else capacity.in_service,
        "pending": None if isinstance(capacity, Missing) else capacity.pending,
        "direction": decision.direction,
        "combined": decision.combined,
        "policy": ", ".join(decision.by) or None,
        "queues": {
            name: _queue_record(queue.latest.value, queue.stats.value)
            for name, queue in decision.snapshot.queues.items()
        },
        "recommendations": [_recommendation_record(r) for r in decision.recommendations],
        "effects": [_effect_record(e) for e in decision.effects],
        "frozen": list(decision.frozen),
        "workers_ended": list(decision.change.workers)
        if isinstance(decision.change, EndWorkers)
        else [],
        "outcome": outcome.kind,
        "outcome_reason": outcome.reason,
        "apply_s": round(outcome.took_s, 6),
        "wakeup": decision.wakeup,
        "dry_run": decision.dry_run,
        "epoch": epoch,
        "sentence": sentence(decision, outcome),
    }


def _because(decision: Decision) -> str:
    """The reasons of whoever got their way; without an opinion, everybody's."""
    heard = [r for r in decision.recommendations if r.policy in decision.by]
    return ", ".join(r.reason for r in heard or decision.recommendations) or "no policy"


_IN_WORDS: Mapping[str, str] = {
    "disable_scale_in": "scale-in disabled",
    "scale_in": "scale-in held",
}


def _effect_words(effect: Effect) -> str:
    name = _IN_WORDS.get(effect.guardrail, effect.guardrail.replace("_", " "))
    return f"{name} {effect.before} → {effect.after} ({effect.reason})"


def _queue_record(sample: QueueSample | Missing, stats: WorkerStats | Missing) -> JsonValue:
    if isinstance(sample, Missing):
        return {"missing": sample.reason}
    return {
        "waiting": sample.waiting,
        "in_flight": _or_missing(in_flight(sample, stats)),
        "delayed": sample.delayed,
        "oldest_age_s": _or_missing(sample.oldest_age_s),
    }


def _or_missing(value: float | Missing) -> JsonValue:
    return {"missing": value.reason} if isinstance(value, Missing) else value


def _recommendation_record(recommendation: Recommendation) -> JsonValue:
    record: dict[str, JsonValue] = {
        "policy": recommendation.policy,
        "desired": recommendation.desired,
        "reason": recommendation.reason,
        "inputs": _inputs(recommendation.inputs),
    }
    if recommendation.min is not None:
        record["min"] = recommendation.min
    if recommendation.max is not None:
        record["max"] = recommendation.max
    return record


def _inputs(inputs: Mapping[str, float | str | None]) -> JsonValue:
    return dict(inputs)


def _effect_record(effect: Effect) -> JsonValue:
    return {
        "guardrail": effect.guardrail,
        "before": effect.before,
        "after": effect.after,
        "reason": effect.reason,
    }
