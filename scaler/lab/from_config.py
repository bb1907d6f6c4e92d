"""What a configuration names, created in a lab: its groups and services, at their minimum."""

from scaler.config import schema
from scaler.lab.stack import LabClients, create_group, create_service


def create_from_config(clients: LabClients, config: schema.Config) -> list[str]:
    """Create the target of each fleet with the fleet's bounds; a target named twice is made once.

    A `floor` target gets its scalable target too. Returns: a line about each creation.
    """
    made: dict[str, str] = {}
    for fleet in config.fleets.values():
        low, high, target = fleet.bounds.min, fleet.bounds.max, fleet.target
        match target:
            case schema.AsgTarget():
                if target.name not in made:
                    create_group(clients, target.name, low=low, high=high, desired=low)
                    made[target.name] = f"group {target.name}: min {low}, max {high}, desired {low}"
            case schema.EcsTarget():
                name = f"{target.cluster}/{target.service}"
                if name not in made:
                    made[name] = _create_service(clients, target, low=low, high=high)
    return list(made.values())


def _create_service(clients: LabClients, target: schema.EcsTarget, *, low: int, high: int) -> str:
    create_service(clients, cluster=target.cluster, name=target.service, desired=low)
    if target.mode == "floor":
        clients.application_autoscaling.register_scalable_target(
            ServiceNamespace="ecs",
            ResourceId=f"service/{target.cluster}/{target.service}",
            ScalableDimension="ecs:service:DesiredCount",
            MinCapacity=low,
            MaxCapacity=high,
        )
    return f"service {target.cluster}/{target.service}: desired {low}"
