"""A configuration becomes what decides: all of it, nothing invented."""

from scaler.config.specs import build_policies, fleet_specs
from scaler.model.objective import Objective
from scaler.model.spec import Behaviour, Bounds, Fallback, FleetSpec, PolicySpec, RateLimit

FULL = """\
version: 1
redis: {url: redis://h}
queues:
  a: {type: list, key: a}
  b: {type: sorted_set, key: b, unit: milliseconds}
loop: {stale_after: 90s}
fleets:
  api:
    target: {type: ecs, cluster: c, service: s, mode: floor}
    signals: [b, a]
    bounds: {min: 0, max: 4}
    objective: p95 wait <= 60s
    policies:
      - {type: fixed, capacity: 3}
      - {type: target_tracking, name: backlog, target: 2.5}
    combine: first
    behaviour:
      stabilization: {out: 1s, in: 2s}
      rate: {out: [{workers: 4, per: 60s}, {percent: 100, per: 30s}], in: [{workers: 1, per: 5m}]}
      cooldown: {out: 5m, in: 6m}
      default_cooldown: 7s
      warmup: 8s
      activation: 9
      disable_scale_in: true
    scale_in: deregister
    fallback: {capacity: 2, after: 10s}
    boot_time: 11s
    dry_run: true
  plain:
    target: {type: asg, name: g}
    signals: [a]
    bounds: {min: 1, max: 1}
    policies: [{type: fixed, capacity: 1}]
    stale_after: 30s
"""


def test_every_field_reaches_the_spec(loaded):
    api, plain = fleet_specs(loaded(FULL).config)

    assert api == FleetSpec(
        name="api",
        signals=("b", "a"),
        bounds=Bounds(min=0, max=4),
        policies=(
            PolicySpec(name="fixed", type="fixed", params={"capacity": 3}),
            PolicySpec(name="backlog", type="target_tracking", params={"target": 2.5}),
        ),
        combine="first",
        behaviour=Behaviour(
            stabilization_out_s=1,
            stabilization_in_s=2,
            rates_out=(
                RateLimit(period_s=60, workers=4),
                RateLimit(period_s=30, percent=100),
            ),
            rates_in=(RateLimit(period_s=300, workers=1),),
            cooldown_out_s=300,
            cooldown_in_s=360,
            default_cooldown_s=7,
            warmup_s=8,
            activation=9,
            disable_scale_in=True,
        ),
        scale_in="deregister",
        change_kind="floor",
        objective=Objective(ratio=0.95, wait_s=60),
        fallback=Fallback(capacity=2, after_s=10),
        boot_time_s=11,
        stale_after_s=90,
        dry_run=True,
    )
    assert (plain.change_kind, plain.stale_after_s, plain.dry_run) == ("desired", 30, False)


def test_defaults_in_the_file_are_the_defaults_of_the_model(loaded, good):
    (spec,) = fleet_specs(loaded(good).config)

    assert spec == FleetSpec(
        name=spec.name, signals=spec.signals, bounds=spec.bounds, policies=spec.policies
    )


def test_policies_are_built_in_order_with_their_names(loaded):
    api, _ = fleet_specs(loaded(FULL).config)

    assert [policy.name for policy in build_policies(api)] == ["fixed", "backlog"]
