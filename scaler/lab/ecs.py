"""ECS's service operations, with the documented limits. Whatever is not here goes to moto.

Source: ECS API reference (CreateService, UpdateService, DescribeServices, DeleteService).
"""

import json

from scaler.lab.errors import AwsError
from scaler.lab.moto_backend import MotoAnswer
from scaler.lab.params import Params
from scaler.lab.region import Region
from scaler.lab.services import LabService
from scaler.lab.wire import Answer, Call

MAX_DESCRIBED = 10
MAX_TASKS_A_SERVICE = 5000
TARGET = "AmazonEC2ContainerServiceV20141113"


def _last_part(text: str) -> str:
    """A name, from itself or from its ARN."""
    return text.rpartition("/")[2]


def _cluster(region: Region, params: Params) -> str:
    name = _last_part(params.text("cluster") or "default")
    if not region.around.moto.has_cluster(region.name, name):
        raise AwsError("ClusterNotFoundException", "Cluster not found.")
    return name


def _service(region: Region, params: Params) -> LabService:
    cluster = _cluster(region, params)
    service = region.services.get((cluster, _last_part(params.need_text("service"))))
    if service is None:
        raise AwsError("ServiceNotFoundException", "Service not found.")
    return service


def _desired(params: Params) -> int | None:
    desired = params.integer("desiredCount")
    if desired is not None and not 0 <= desired <= MAX_TASKS_A_SERVICE:
        raise AwsError(
            "InvalidParameterException",
            f"desiredCount must be between 0 and {MAX_TASKS_A_SERVICE}.",
        )
    return desired


def create_service(region: Region, params: Params, call: Call) -> Answer | MotoAnswer:
    cluster = _cluster(region, params)
    name = params.need_text("serviceName")
    desired = _desired(params) or 0
    existing = region.services.get((cluster, name))
    if existing is not None and not existing.deleted:
        raise AwsError("InvalidParameterException", "Creation of service was not idempotent.")
    answer = region.around.moto.json(
        "ecs", region.name, target=f"{TARGET}.CreateService", params=json.loads(call.body)
    )
    definition = answer.json().get("service")
    if answer.status >= 400 or not isinstance(definition, dict):
        return answer
    service = LabService(
        cluster=cluster,
        name=name,
        around=region.around,
        definition=definition,
        created_s=region.now_s,
        desired=desired,
    )
    region.services[(cluster, name)] = service
    service.deploy(str(definition.get("taskDefinition") or ""))
    return {"service": service.shown(tags=True)}


def update_service(region: Region, params: Params, call: Call) -> Answer | MotoAnswer:
    """`desiredCount` alone starts no deployment; a task definition or a forced one does."""
    service = _service(region, params)
    if service.deleted:
        raise AwsError("ServiceNotActiveException", "Service was not ACTIVE.")
    desired = _desired(params)
    if set(params.values) - {"cluster", "service", "desiredCount"}:
        answer = region.around.moto.json(
            "ecs", region.name, target=f"{TARGET}.UpdateService", params=json.loads(call.body)
        )
        definition = answer.json().get("service")
        if answer.status >= 400 or not isinstance(definition, dict):
            return answer
        service.definition = definition
        if "taskDefinition" in params or params.flag("forceNewDeployment"):
            service.deploy(
                str(definition.get("taskDefinition") or service.deployments[0].task_definition)
            )
    if desired is not None:
        service.set_desired(desired)
    return {"service": service.shown(tags=True)}


def describe_services(region: Region, params: Params) -> Answer:
    names = params.texts("services")
    cluster = _cluster(region, params)
    if not names:
        raise AwsError("InvalidParameterException", "Services cannot be empty.")
    if len(names) > MAX_DESCRIBED:
        raise AwsError(
            "InvalidParameterException", f"Services cannot be more than {MAX_DESCRIBED}."
        )
    tags = "TAGS" in params.texts("include")
    services, failures = [], []
    for name in names:
        service = region.services.get((cluster, _last_part(name)))
        if service is None:
            where = f"arn:aws:ecs:{region.name}:{region.account_id}:service"
            failures.append({"arn": f"{where}/{cluster}/{_last_part(name)}", "reason": "MISSING"})
        else:
            services.append(service.shown(tags=tags))
    return {"services": services, "failures": failures}


def delete_service(region: Region, params: Params, call: Call) -> Answer | MotoAnswer:
    service = _service(region, params)
    if service.desired > 0 and not params.flag("force"):
        raise AwsError(
            "InvalidParameterException",
            "The service cannot be stopped while it is scaled above 0.",
        )
    answer = region.around.moto.json(
        "ecs",
        region.name,
        target=f"{TARGET}.DeleteService",
        params={**json.loads(call.body), "force": True},
    )
    if answer.status >= 400:
        return answer
    service.deleted = True
    service.set_desired(0)
    return {"service": service.shown(tags=True)}
