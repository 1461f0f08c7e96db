"""Long-running operations: the status documents that `Azure-AsyncOperation` points to."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response

from skrkit.sandbox import chance
from skrkit.sandbox.arm.call import Call
from skrkit.sandbox.web import AzureError

if TYPE_CHECKING:
    from skrkit.sandbox.world import World

OPERATION_KIND = "arm-operation"
OUTPUT_KIND = "arm-operation-output"  # what `Location` answers at the end, by the operation's name
_PREEMPTED = "The operation has been preempted by the end of the sandbox's process."


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """An operation that takes its time. `headers` point to it; `end` is called once, by whoever does the work."""

    world: World
    operation: str
    headers: dict[str, str]

    def end(self, output: dict[str, Any] | None = None, *, error: AzureError | None = None) -> None:
        """Say how it ended: with what `Location` then answers, or with an error."""
        document = self.world.store.get(OPERATION_KIND, self.operation)
        assert document is not None  # written when it began, and never removed
        document |= {"status": "Failed" if error else "Succeeded", "endTime": rfc3339(self.world.now())}
        if error is not None:
            document["error"] = {"code": error.code, "message": error.message}
        self.world.store.put(OPERATION_KIND, self.operation, document)
        self.world.store.put(OUTPUT_KIND, self.operation, {"output": output})
        _running(self.world).pop(self.operation).set()


def begun(call: Call, *, provider: str, location: str) -> Begun:
    """Return an operation that is under way: its status is InProgress, and its `Location` answers 202."""
    headers = finished(call, provider=provider, location=location)
    url = headers["Azure-AsyncOperation"]
    operation = url.partition("?")[0].rpartition("/")[2]
    document = call.world.store.get(OPERATION_KIND, operation) or {}
    del document["endTime"]
    _running(call.world)[operation] = threading.Event()
    call.world.store.put(OPERATION_KIND, operation, document | {"status": "InProgress"})
    headers |= {"Location": f"{url}&monitor=true", "Retry-After": "1"}
    return Begun(world=call.world, operation=operation, headers=headers)


def waited_for(world: World, answer: Response) -> dict[str, Any] | None:
    """Return the error that the operation of an answer ends with, None without one: when it has ended."""
    operation = answer.headers.get("Azure-AsyncOperation", "").partition("?")[0].rpartition("/")[2]
    ended = _running(world).get(operation)
    if ended is not None:
        ended.wait()
    return (world.store.get(OPERATION_KIND, operation) or {}).get("error") if operation else None


def _running(world: World) -> dict[str, threading.Event]:
    """Return the operations that this process works on, each with its end. Of one that was killed there are none."""
    running: dict[str, threading.Event] = world.cache.setdefault("arm-operations", {})
    return running


def get_operation(call: Call) -> Response:
    """Return the status document of an operation, or with `monitor` its outcome: 202 without a body until then."""
    operation = call.path["operation"].lower()
    document = call.world.store.get(OPERATION_KIND, operation)
    if document is None:
        raise AzureError(404, "NotFound", f"The entity {call.path['operation']} was not found in this location.")
    if document["status"] == "InProgress" and operation not in _running(call.world):
        document |= {"status": "Canceled", "error": {"code": "OperationPreempted", "message": _PREEMPTED}}
    if call.query.get("monitor") != "true":
        return JSONResponse(document)
    if document["status"] == "InProgress":
        return Response(status_code=202, headers={"Location": _monitor(call), "Retry-After": "1"})
    if "error" in document:
        raise AzureError(409, document["error"]["code"], document["error"]["message"])
    output = (call.world.store.get(OUTPUT_KIND, operation) or {}).get("output")
    return Response(status_code=204) if output is None else JSONResponse(output)


def _monitor(call: Call) -> str:
    return f"https://management.azure.com{call.url_path}?api-version={call.api_version}&monitor=true"
