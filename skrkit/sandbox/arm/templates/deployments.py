"""`Microsoft.Resources/deployments`: put, validate, whatIf, get, list, delete, and the operations of a deployment.

The work is done before the first answer, so that the first poll says how it ended.
"""

from __future__ import annotations

import re
from typing import Any

from starlette.responses import JSONResponse, Response

from skrkit.sandbox import chance
from skrkit.sandbox.arm import errors
from skrkit.sandbox.arm.call import Call, Handler
from skrkit.sandbox.arm.operations import OPERATION_KIND, rfc3339
from skrkit.sandbox.arm.templates import refusals, whatif
from skrkit.sandbox.arm.templates.carrying import Caller, carry_out, error_of
from skrkit.sandbox.arm.templates.places import Place
from skrkit.sandbox.arm.templates.planning import DEPLOYMENT_TYPE, Planned, is_nested
from skrkit.sandbox.arm.templates.preflight import check_bodies
from skrkit.sandbox.arm.templates.preparing import Prepared, prepare
from skrkit.sandbox.arm.templates.record import DEPLOYMENT_KIND, properties_of
from skrkit.sandbox.arm.templates.refusals import no_deployment
from skrkit.sandbox.store import Document
from skrkit.sandbox.web import AzureError

_NAME = re.compile(r"[-\w.()]{1,64}\Z")


def put_deployment(call: Call) -> Response:
    """Return 201 with an operation, 200 for a name that was deployed before, after all of it was tried."""
    prepared, caller = _prepared(call)
    _check_resources(prepared, caller)
    known = call.world.store.get(DEPLOYMENT_KIND, _id(call).lower())
    record = carry_out(prepared, caller, _id(call))
    properties = properties_of(prepared, caller.correlation, record.began)
    accepted: Document = {"id": _id(call), "name": prepared.name, "type": DEPLOYMENT_TYPE, "properties": properties}
    if "group" not in call.path:
        accepted["location"] = call.body.get("location")
    error = refusals.failed(list(record.failures)) if record.failures else None
    headers = _operation_headers(call, error)
    return JSONResponse(accepted, 201 if known is None else 200, headers=headers)


def validate_deployment(call: Call) -> Response:
    """Return 200 with what would be deployed. Refused with 400 is a template, or a body, that would not be taken."""
    prepared, caller = _prepared(call)
    _check_resources(prepared, caller)
    check_bodies(prepared, caller)
    properties = properties_of(prepared, caller.correlation, call.world.now())
    properties |= {
        "provisioningState": "Succeeded",
        "validatedResources": [{"id": planned.id} for planned in prepared.resources if planned.wanted],
    }
    return JSONResponse({"id": _id(call), "name": prepared.name, "type": DEPLOYMENT_TYPE, "properties": properties})


def what_if(call: Call) -> Response:
    """Return 202 with where the prediction is: nothing is changed."""
    prepared, caller = _prepared(call, masked=True)
    _check_resources(prepared, caller)
    settings = call.object_of("whatIfSettings", call.object_of("properties"))
    ids_only = str(settings.get("resultFormat", "")).lower() == "resourceidonly"
    found = whatif.changes(prepared, caller, ids_only=ids_only)
    operation = chance.uuid4("arm/what-if")
    result: Document = {"status": "Succeeded", "properties": {"correlationId": caller.correlation, "changes": found}}
    call.world.store.put(OPERATION_KIND, f"what-if {operation}", {"result": result, "owner": call.caller.oid})
    url = (
        f"https://management.azure.com/subscriptions/{call.world.subscription}/operationresults/{operation}"
        f"?api-version={call.api_version}"
    )
    return Response(status_code=202, headers={"Location": url, "Retry-After": "0"})


def get_result(call: Call) -> Response:
    """Return a prediction that was asked for, to who asked."""
    kept = call.world.store.get(OPERATION_KIND, f"what-if {call.path['operation'].lower()}")
    if kept is None or kept["owner"] != call.caller.oid:
        raise AzureError(404, "NotFound", f"The entity {call.path['operation']} was not found.")
    return JSONResponse(kept["result"])


def get_deployment(call: Call) -> Response:
    """Return a deployment as it ended."""
    return JSONResponse(_require(call)["shown"])


def head_deployment(call: Call) -> Response:
    """Return 204 if the deployment is there, 404 if not, with no body."""
    there = call.world.store.get(DEPLOYMENT_KIND, _id(call).lower()) is not None
    return Response(status_code=204 if there else 404)


def list_deployments(call: Call) -> Response:
    """Return the deployments of the group, or those of the subscription itself; `$filter` may say a state."""
    if "group" in call.path:
        call.require_group()
    prefix = f"{_base(call)}/providers/{DEPLOYMENT_TYPE}/".lower()
    documents = [kept["shown"] for _, kept in call.world.store.list(DEPLOYMENT_KIND, prefix)]
    expression = call.query.get("$filter", "").strip()
    if expression:
        match = re.fullmatch(r"provisioningState\s+eq\s+'(\w+)'", expression, re.IGNORECASE)
        if match is None:
            raise errors.not_here(f"the filter {expression!r}: only provisioningState eq '...' is understood")
        documents = [one for one in documents if one["properties"]["provisioningState"].lower() == match[1].lower()]
    top = call.query.get("$top", "")
    return JSONResponse({"value": documents[: int(top)] if top.isdigit() else documents})


def delete_deployment(call: Call) -> Response:
    """Return 204: what is forgotten is the deployment, the resources stay."""
    call.world.store.delete(DEPLOYMENT_KIND, _id(call).lower())
    return Response(status_code=204)


def list_operations(call: Call) -> Response:
    """Return what was done for each resource of the template."""
    return JSONResponse({"value": _require(call)["operations"]})


def get_one_operation(call: Call) -> Response:
    """Return what was done for one resource."""
    wanted = call.path["operation"].lower()
    found = next((one for one in _require(call)["operations"] if one["operationId"].lower() == wanted), None)
    if found is None:
        raise AzureError(
            404, "DeploymentOperationNotFound", f"Deployment operation '{call.path['operation']}' could not be found."
        )  # (inferred)
    return JSONResponse(found)


def cancel_deployment(call: Call) -> Response:
    """Refuse: a deployment has always ended already."""
    state = _require(call)["shown"]["properties"]["provisioningState"]
    raise AzureError(
        409,
        "DeploymentCannotBeCancelled",
        f"The deployment '{call.path['deployment']}' cannot be cancelled because its provisioning state is '{state}'.",
    )  # the words are not known to the letter (inferred)


def get_status(call: Call) -> Response:
    """Return how the deployment that an operation stands for ended."""
    kept = call.world.store.get(OPERATION_KIND, call.path["operation"].lower())
    if kept is None:
        raise AzureError(404, "NotFound", f"The entity {call.path['operation']} was not found.")
    return JSONResponse(kept)


def remove_of_group(call: Call) -> None:
    """Forget the deployments of a group that is deleted."""
    for key, _ in call.world.store.list(DEPLOYMENT_KIND, f"{call.group_id}/".lower()):
        call.world.store.delete(DEPLOYMENT_KIND, key)


def _prepared(call: Call, *, masked: bool = False) -> tuple[Prepared, Caller]:
    name = call.path["deployment"]
    if not _NAME.match(name):
        raise AzureError(
            400,
            "InvalidDeploymentName",
            f"The deployment name '{name}' is invalid. The name can only be a letter, digit, '-', '.', '(', ')' or "
            "'_', and has 1 to 64 of them.",
        )  # the words are not known to the letter (inferred)
    place = _place(call)
    caller = Caller(world=call.world, principal=call.caller, correlation=chance.uuid4("arm/deployment"))
    try:
        return prepare(name, place, call.object_of("properties"), caller.clock(), masked=masked), caller
    except RecursionError:
        raise refusals.invalid("The template is nested too deeply") from None  # (inferred)


def _place(call: Call) -> Place:
    group: str | None = None
    if "group" in call.path:
        group = str(call.require_group()["name"])
    elif not isinstance(call.body.get("location"), str):
        raise errors.no_location()
    base = f"/subscriptions/{call.world.subscription}/resourceGroups/"

    def read_group(name: str) -> dict[str, Any] | None:
        return call.read(base + name)

    return Place(tenant=call.world.tenant, subscription=call.world.subscription, group=group, read_group=read_group)


def _check_resources(prepared: Prepared, caller: Caller) -> None:
    """Refuse before anything is made what the sandbox does not have, and what the caller may not make."""
    from skrkit.sandbox.arm.app import permitted  # its table has the deployments too

    for planned in prepared.resources:
        if not planned.wanted or planned.existing:
            continue
        if not planned.api_version:
            raise refusals.invalid(
                f"The template resource '{planned.name}' is not valid: the api-version is missing. {refusals.SYNTAX}"
            )  # (inferred)
        try:
            permitted(caller.world, caller.principal, "PUT", planned.id)
        except AzureError as error:
            if error.status != 403:
                raise
            raise _unauthorised(planned, error) from None


def _unauthorised(planned: Planned, error: AzureError) -> AzureError:
    words = error.message.replace("does not have authorization", "does not have permission")
    what = words.partition(" or the scope")[0]
    verb = "deployment" if is_nested(planned.source) else "resource"
    message = f"Authorization failed for template {verb} '{planned.name}' of type '{planned.type}'. {what}."
    detail = error_of(AzureError(403, "AuthorizationFailed", message))
    return AzureError(
        403,
        "InvalidTemplateDeployment",
        f"The template deployment failed with error: '{message}'.",
        extra={"details": [detail]},
    )


def _operation_headers(call: Call, error: dict[str, Any] | None) -> dict[str, str]:
    operation = chance.uuid4("arm/operation")
    path = f"{_id(call)}/operationStatuses/{operation}"
    now = rfc3339(call.world.now())
    kept: Document = {"id": path, "name": operation, "status": "Failed" if error else "Succeeded"}
    kept |= {"startTime": now, "endTime": now}
    if error:
        kept["error"] = error
    call.world.store.put(OPERATION_KIND, operation, kept)
    url = f"https://management.azure.com{path}?api-version={call.api_version}"
    return {"Azure-AsyncOperation": url, "Retry-After": "0"}


def _require(call: Call) -> Document:
    if "group" in call.path:
        call.require_group()
    kept = call.world.store.get(DEPLOYMENT_KIND, _id(call).lower())
    if kept is None:
        raise no_deployment(call.path["deployment"])
    return kept


def _base(call: Call) -> str:
    return call.group_id if "group" in call.path else f"/subscriptions/{call.world.subscription}"


def _id(call: Call) -> str:
    return f"{_base(call)}/providers/{DEPLOYMENT_TYPE}/{call.path['deployment']}"


def _rows(base: str) -> tuple[tuple[str, str, str, Handler], ...]:
    every = f"{base}/providers/{DEPLOYMENT_TYPE}"
    one = every + "/{deployment}"
    return (
        ("GET", every, f"{DEPLOYMENT_TYPE}/read", list_deployments),
        ("PUT", one, f"{DEPLOYMENT_TYPE}/write", put_deployment),
        ("GET", one, f"{DEPLOYMENT_TYPE}/read", get_deployment),
        ("HEAD", one, f"{DEPLOYMENT_TYPE}/read", head_deployment),
        ("DELETE", one, f"{DEPLOYMENT_TYPE}/delete", delete_deployment),
        ("POST", one + "/validate", f"{DEPLOYMENT_TYPE}/validate/action", validate_deployment),
        ("POST", one + "/whatIf", f"{DEPLOYMENT_TYPE}/whatIf/action", what_if),
        ("POST", one + "/cancel", f"{DEPLOYMENT_TYPE}/cancel/action", cancel_deployment),
        ("GET", one + "/operationStatuses/{operation}", f"{DEPLOYMENT_TYPE}/operationstatuses/read", get_status),
        # the SDK lists a group's operations without the provider in the path, and those of any scope with it
        *(
            row
            for path in (one, base + "/deployments/{deployment}")
            for row in (
                ("GET", path + "/operations", f"{DEPLOYMENT_TYPE}/operations/read", list_operations),
                ("GET", path + "/operations/{operation}", f"{DEPLOYMENT_TYPE}/operations/read", get_one_operation),
            )
        ),
    )


ROUTES: tuple[tuple[str, str, str, Handler], ...] = (
    *_rows("/subscriptions/{subscription}/resourceGroups/{group}"),
    *_rows("/subscriptions/{subscription}"),
    ("GET", "/subscriptions/{subscription}/operationresults/{operation}", "", get_result),  # to who asked
)
