"""A deployment carried out: each resource is asked for as a client would, in the caller's name, and its answer kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from skrkit.sandbox import chance
from skrkit.sandbox.arm.operations import rfc3339, waited_for
from skrkit.sandbox.arm.templates import refusals
from skrkit.sandbox.arm.templates.arguments import bounded
from skrkit.sandbox.arm.templates.parameters import SECURE, declared_kind
from skrkit.sandbox.arm.templates.places import Clock, split_id
from skrkit.sandbox.arm.templates.planning import NOT_SENT, Planned, has_inner_scope, is_nested, same_resource
from skrkit.sandbox.arm.templates.preparing import Prepared, prepare
from skrkit.sandbox.arm.templates.record import Record, write_record
from skrkit.sandbox.arm.templates.refusals import ExpressionError, UnknownYet
from skrkit.sandbox.arm.templates.scope import Scope
from skrkit.sandbox.web import AzureError

if TYPE_CHECKING:
    from skrkit.sandbox.arm.call import Call
    from skrkit.sandbox.entra import Principal
    from skrkit.sandbox.world import World

STEPS_OF_NESTED = 1_000  # what a deployment in a deployment counts for, beside its expressions
_STATUS_WORDS = {200: "OK", 201: "Created", 202: "Accepted", 204: "NoContent", 400: "BadRequest", 403: "Forbidden",
                 404: "NotFound", 409: "Conflict", 501: "NotImplemented"}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who deploys, and where the requests go."""

    world: World = field(repr=False)
    principal: Principal
    correlation: str

    def send(self, method: str, path: str, api_version: str, body: Any = None) -> Response:
        """Return Resource Manager's answer. Raises `AzureError` where it refuses."""
        from skrkit.sandbox.arm.app import answered  # its table has the deployments too

        raw = b"" if body is None else json.dumps(body).encode()
        return answered(self.world, self.principal, method, path, {"api-version": api_version}, raw)

    def look(self, method: str, path: str, api_version: str, body: Any, check: Callable[[Call], object]) -> None:
        """Show a request to a check in place of its handler. Raises `AzureError` where that refuses."""
        from skrkit.sandbox.arm.app import call_of

        raw = json.dumps(body).encode()
        _handler, call = call_of(self.world, self.principal, method, path, {"api-version": api_version}, raw)
        check(call)

    def read(self, resource_id: str, api_version: str) -> dict[str, Any]:
        """Return a resource. Raises `AzureError` where there is none."""
        answer = self.send("GET", resource_id, api_version)
        found: dict[str, Any] = json.loads(bytes(answer.body))
        return found

    def clock(self) -> Clock:
        """Return the time and the identifiers that a deployment may use."""
        return Clock(self.world.now(), lambda: chance.uuid4("arm/template"))


@dataclass(frozen=True, slots=True)
class There:
    """The resources of a plan, and in a nested one those around it, as `reference` finds them."""

    caller: Caller
    resources: tuple[Planned, ...]
    around: There | None = None

    def reference(self, wanted: str, api_version: str, *, full: bool) -> Any:
        """Return a resource's properties, or all of it with what a template knows of it."""
        planned = self.find(wanted)
        if planned is None and not (wanted.startswith("/") and api_version):
            raise ExpressionError(f"The resource '{wanted}' is not defined in the template. {refusals.SYNTAX}")
        resource_id = planned.id if planned else wanted
        version = api_version or (planned.api_version if planned else "")
        body = self.caller.read(resource_id, version)
        if not full:
            return body.get("properties", {})
        parts = resource_id.split("/")
        names = {"subscriptionId": parts[2] if len(parts) > 2 else "", "resourceId": resource_id.strip("/")}
        if len(parts) > 4 and parts[3].lower() == "resourcegroups":
            names["resourceGroupName"] = parts[4]
        return {k: v for k, v in body.items() if k not in ("id", "name", "type")} | {"apiVersion": version} | names

    def find(self, wanted: str) -> Planned | None:
        """Return the resource of the template that a text means, or None."""
        found = next((planned for planned in self.resources if same_resource(planned, wanted)), None)
        return found if found or self.around is None else self.around.find(wanted)


def request_body(planned: Planned, scope: Scope) -> dict[str, Any]:
    """Return what is sent for a resource. Raises `ExpressionError`, `UnknownYet`."""
    sent = {name: value for name, value in planned.source.items() if name not in NOT_SENT}
    body: dict[str, Any] = bounded(scope.evaluate(sent))
    return body


def nested(planned: Planned, scope: Scope, clock: Clock, depth: int, *, masked: bool = False) -> Prepared:
    """Return a deployment that is a resource of another one, ready. Raises `AzureError`, `ExpressionError`."""
    properties = planned.source.get("properties")
    given = dict(properties) if isinstance(properties, dict) else {}
    template = given.pop("template", None)
    evaluated = scope.evaluate(given) | {"template": template}
    outer = None if has_inner_scope(planned.source) else scope
    scope.spent.add(STEPS_OF_NESTED)
    return prepare(
        planned.name, planned.place, evaluated, clock, outer=outer, depth=depth, masked=masked, spent=scope.spent
    )


def carry_out(prepared: Prepared, caller: Caller, deployment_id: str, around: There | None = None) -> Record:
    """Return the record of a deployment after all of it was tried; it is kept. What others wait for and failed, and
    what waits for it, is not made; what is independent of it is.
    """
    there = There(caller, prepared.resources, around)
    began = caller.world.now()
    operations: list[dict[str, Any]] = []
    failures: list[dict[str, Any]] = []
    left_out: set[int] = set()
    for at, planned in enumerate(prepared.resources):
        if planned.waits_for & left_out:
            left_out.add(at)
        elif planned.wanted and not planned.existing:
            started = caller.world.now()
            status, error = _made(planned, there, prepared.depth)
            if error is not None:
                left_out.add(at)
                failures.append(error)
            operations.append(_operation(caller, deployment_id, planned, started, status, error))
    outputs: dict[str, Any] = {}
    if not failures:
        try:
            outputs = _outputs(prepared, there)
        except AzureError as error:
            failures.append(error_of(error))
        if prepared.mode == "Complete":
            _remove_others(prepared, caller)
    record = Record(
        prepared=prepared, id=deployment_id, began=began, ended=caller.world.now(), correlation=caller.correlation,
        outputs=outputs, failures=tuple(failures), operations=tuple(operations),
    )  # fmt: skip
    write_record(caller.world, record)
    return record


def _made(planned: Planned, there: There, depth: int) -> tuple[int, dict[str, Any] | None]:
    """Return the status of what came of one resource, and the error if that was not what was asked for."""
    scope = replace(planned.scope, resources=there)
    try:
        if is_nested(planned.source):
            return _nested_made(planned, scope, there, depth)
        answer = there.caller.send("PUT", planned.id, planned.api_version, request_body(planned, scope))
        error = waited_for(there.caller.world, answer)
        return (409 if error else answer.status_code), error
    except ExpressionError as error:
        return 400, error_of(refusals.unprocessable(planned.id, error))
    except AzureError as error:
        return error.status, error_of(error)


def _nested_made(planned: Planned, scope: Scope, there: There, depth: int) -> tuple[int, dict[str, Any] | None]:
    ready = nested(planned, scope, there.caller.clock(), depth + 1)
    if planned.place.group and planned.place.read_group(planned.place.group) is None:
        raise AzureError(404, "ResourceGroupNotFound", f"Resource group '{planned.place.group}' could not be found.")
    outer = None if has_inner_scope(planned.source) else there
    record = carry_out(ready, there.caller, planned.id, outer)
    return (200, None) if not record.failures else (409, refusals.failed(list(record.failures)))


def error_of(error: AzureError) -> dict[str, Any]:
    """Return a refusal as the details of a deployment have it."""
    return {"code": error.code, "message": error.message, **error.extra}


def _operation(
    caller: Caller, deployment_id: str, planned: Planned, started: datetime, status: int, error: dict[str, Any] | None
) -> dict[str, Any]:
    operation = chance.token_bytes("arm/deployment-operation", 8).hex().upper()
    properties: dict[str, Any] = {
        "provisioningOperation": "Create",
        "provisioningState": "Failed" if error else "Succeeded",
        "timestamp": rfc3339(caller.world.now()),
        "duration": duration(started, caller.world.now()),
        "trackingId": chance.uuid4("arm/deployment-tracking"),
        "statusCode": _STATUS_WORDS.get(status, str(status)),
        "targetResource": {"id": planned.id, "resourceType": planned.type, "resourceName": planned.name},
    }
    if error:
        properties["statusMessage"] = {"status": "Failed", "error": error}
    return {"id": f"{deployment_id}/operations/{operation}", "operationId": operation, "properties": properties}


def duration(started: datetime, ended: datetime) -> str:
    """Return the time between as ISO 8601 writes it."""
    return f"PT{max((ended - started).total_seconds(), 0.0):.7f}".rstrip("0").rstrip(".") + "S"


def _outputs(prepared: Prepared, there: There) -> dict[str, Any]:
    made: dict[str, Any] = {}
    scope = replace(prepared.scope, resources=there)
    for name, declared in prepared.outputs.items():
        kind, python_type = declared_kind(declared if isinstance(declared, dict) else {})
        try:
            if not scope.evaluate(declared.get("condition", True)):
                continue
            loop = declared.get("copy")
            if isinstance(loop, dict):
                value: Any = [turn.evaluate(loop.get("input")) for turn in scope.loop(loop, whole=True)]
            else:
                value = scope.evaluate(declared.get("value"))
            if value is not None and (not isinstance(value, python_type) or (kind == "Int" and value is True)):
                raise ExpressionError(f"the value is not of the declared type '{kind}'")
        except (ExpressionError, UnknownYet) as error:
            raise refusals.invalid_output(name, ExpressionError(str(error))) from None
        made[name] = {"type": kind} | ({} if kind in SECURE else {"value": bounded(value)})
    return made


def _remove_others(prepared: Prepared, caller: Caller) -> None:
    """Delete what is in the group and not in the template: that is what mode Complete means."""
    if prepared.place.group is None:
        return
    kept = {planned.id.lower() for planned in prepared.resources}
    listed = json.loads(bytes(caller.send("GET", f"{prepared.place.base}/resources", "2025-04-01").body))
    for body in listed["value"]:
        resource_id = str(body["id"])
        if resource_id.lower() not in kept and split_id(resource_id)[0]:
            caller.send("DELETE", resource_id, "2024-07-01")
