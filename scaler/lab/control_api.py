"""The lab's own API: faults, state, recorded calls. JSON, for tests and for the curious."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from urllib.parse import parse_qs

from scaler.lab.errors import AwsError
from scaler.lab.faults import Fault
from scaler.lab.groups import LabInstance, ScalingGroup
from scaler.lab.params import Params
from scaler.lab.region import Region
from scaler.lab.services import LabService
from scaler.lab.wire import HttpAnswer
from scaler.lab.world import World

GONE_SHOWN = 200
REQUESTS_SHOWN = 5000


def answer(world: World, *, method: str, path: str, query: str, body: bytes) -> HttpAnswer:
    """Answer one control request."""
    asked = {key: values[-1] for key, values in parse_qs(query).items()}
    try:
        match method, path:
            case "GET", "/lab/state":
                return _json(200, state(world))
            case "GET", "/lab/requests":
                return _json(200, _requests(world, asked))
            case "GET", "/lab/faults":
                return _json(200, {"faults": _faults(world)})
            case "POST", "/lab/faults":
                return _json(200, _add_fault(world, body))
            case "DELETE", "/lab/faults":
                return _json(200, _clear_faults(world, asked))
            case "DELETE", "/lab/requests":
                world.forget_requests()
                return _json(200, {})
    except (ValueError, AwsError) as problem:
        return _json(400, {"error": str(problem)})
    return _json(404, {"error": f"no such thing: {method} {path}"})


def _json(status: int, document: Mapping[str, object]) -> HttpAnswer:
    return HttpAnswer(
        status=status,
        headers=(("Content-Type", "application/json"),),
        body=json.dumps(document).encode(),
    )


def state(world: World) -> dict[str, object]:
    """Everything that is, at this moment."""
    with world.entered():
        return {
            "now_s": world.timeline.now_s,
            "speed": world.clock.speed,
            "account_id": world.moto.account_id,
            "regions": {name: _region(region) for name, region in world.regions.items()},
            "faults": _faults(world),
        }


def _region(region: Region) -> dict[str, object]:
    return {
        "groups": {name: _group(group) for name, group in region.groups.items()},
        "services": {
            f"{cluster}/{name}": _service(service)
            for (cluster, name), service in region.services.items()
        },
        "alarms": {
            name: {"state": alarm.state, "reason": alarm.reason, "since_s": alarm.updated_s}
            for name, alarm in region.alarm_book.alarms.items()
        },
        "metrics": sum(1 for _ in region.metrics),
    }


def _group(group: ScalingGroup) -> dict[str, object]:
    return {
        "min": group.record.min_size,
        "max": group.record.max_size,
        "desired": group.record.desired_capacity,
        "in_service": sum(one.state == "InService" for one in group.instances.values()),
        "billed_s": group.billed_s(),
        "cooldown_until_s": group.cooldown_until_s,
        "instances": [_instance(one) for one in group.instances.values()],
        "gone": [_instance(one) for one in list(group.gone)[-GONE_SHOWN:]],
    }


def _instance(instance: LabInstance) -> dict[str, object]:
    return asdict(instance)


def _service(service: LabService) -> dict[str, object]:
    return {
        "desired": service.desired,
        "running": len(service.in_state("RUNNING")),
        "pending": len(service.in_state("PENDING")),
        "tasks": [asdict(task) for task in service.tasks.values()],
        "stopped": [asdict(task) for task in list(service.stopped)[-GONE_SHOWN:]],
    }


def _requests(world: World, asked: Mapping[str, str]) -> dict[str, object]:
    """Recorded calls after a number, of a service, of an action; oldest first."""
    after = int(asked.get("after", "0"))
    with world.entered():
        found = [
            asdict(request)
            for request in world.requests
            if request.number > after
            and asked.get("service") in (None, request.service)
            and asked.get("action") in (None, request.action)
        ]
    return {"requests": found[:REQUESTS_SHOWN], "more": len(found) > REQUESTS_SHOWN}


def _faults(world: World) -> list[dict[str, object]]:
    now_s = world.timeline.now_s
    return [asdict(fault) for fault in world.faults.active if not fault.ended(now_s)]


def _add_fault(world: World, body: bytes) -> dict[str, object]:
    try:
        loaded = json.loads(body)
    except ValueError:
        raise ValueError("the body is not JSON") from None
    if not isinstance(loaded, dict):
        raise ValueError("the body is not an object")
    params = Params(loaded, missing_code="missing")
    known = {"kind", "service", "action", "count", "seconds", "rate", "delay_s", "applied"}
    unknown = set(loaded) - known - {"group", "code"}
    if unknown:
        raise ValueError(f"unknown field {min(unknown)!r}")
    with world.entered():
        seconds = params.number("seconds")
        fault_id = world.faults.add(
            Fault(
                kind=params.need_text("kind"),  # type: ignore[arg-type]  # Faults.add checks it
                service=params.text("service"),
                action=params.text("action"),
                count=params.integer("count"),
                until_s=None if seconds is None else world.timeline.now_s + seconds,
                rate=_or(params.number("rate"), 1.0),
                delay_s=_or(params.number("delay_s"), 60.0),
                applied=params.flag("applied"),
                group=params.text("group"),
                code=params.text("code") or "InsufficientInstanceCapacity",
            )
        )
    return {"id": fault_id}


def _or(value: float | None, fallback: float) -> float:
    return fallback if value is None else value


def _clear_faults(world: World, asked: Mapping[str, str]) -> dict[str, object]:
    with world.entered():
        fault_id = int(asked["id"]) if "id" in asked else None
        return {"ended": world.faults.clear(fault_id)}
