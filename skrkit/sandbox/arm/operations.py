"""Long-running operations: the status documents that `Azure-AsyncOperation` points to."""

from __future__ import annotations

from datetime import datetime

from starlette.responses import JSONResponse, Response

from skrkit.sandbox import chance
from skrkit.sandbox.arm.call import Call
from skrkit.sandbox.web import AzureError

OPERATION_KIND = "arm-operation"


def rfc3339(moment: datetime) -> str:
    """Return a time as Resource Manager writes it: UTC, with seven digits of a second."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f") + "0Z"


def finished(call: Call, *, provider: str, location: str) -> dict[str, str]:
    """Return the headers that point to a new operation. The work is done already: the first poll says Succeeded.

    `Retry-After` is 0, so that a client polls at once.
    """
    operation = chance.uuid4("arm/operation")
    now = rfc3339(call.world.now())
    path = f"/subscriptions/{call.world.subscription}/providers/{provider}/locations/{location}/operations/{operation}"
    document = {"id": path, "name": operation, "status": "Succeeded", "startTime": now, "endTime": now}
    call.world.store.put(OPERATION_KIND, operation, document)
    url = f"https://management.azure.com{path}?api-version={call.api_version}"
    return {"Azure-AsyncOperation": url, "Retry-After": "0"}


def get_operation(call: Call) -> Response:
    """Return the status document of an operation."""
    document = call.world.store.get(OPERATION_KIND, call.path["operation"].lower())
    if document is None:
        raise AzureError(404, "NotFound", f"The entity {call.path['operation']} was not found in this location.")
    return JSONResponse(document)
