"""Managed run commands: a script as a resource of a VM. It runs when it is put, and its instance view says how it went.

`scripts` says which scripts. What the sandbox does not know of Azure's own behaviour is marked as inferred.
"""

from __future__ import annotations

import subprocess
import threading
from dataclasses import dataclass
from typing import Any

from starlette.responses import JSONResponse, Response

from skrkit.run_command.order import Order
from skrkit.sandbox import chance
from skrkit.sandbox.arm import errors, scripts
from skrkit.sandbox.arm.call import ARM_KIND, VM_TYPE, Call, Handler
from skrkit.sandbox.arm.operations import Begun, begun, finished, rfc3339
from skrkit.sandbox.arm.power import machine_of
from skrkit.sandbox.arm.run_command import PATIENCE_S
from skrkit.sandbox.machine import Machine
from skrkit.sandbox.store import Document
from skrkit.sandbox.web import AzureError
from skrkit.sandbox.world import World

RUN_COMMAND_TYPE = f"{VM_TYPE}/runCommands"
VIEW_KIND = "arm-run-command"  # id in lower case -> {"run": of which run, "view": the instance view}
_ABSENT = ("parameters", "protectedParameters", "runAsUser", "runAsPassword", "outputBlobUri", "errorBlobUri",
           "outputBlobManagedIdentity", "errorBlobManagedIdentity")  # fmt: skip
_NOT_KEPT = ("provisioningState", "instanceView")


def put(call: Call) -> Response:
    """Return 201 with an operation after a script was begun, 200 for one of a name that was there: it runs anew."""
    vm, machine = machine_of(call)
    if not isinstance(call.body.get("location"), str):
        raise errors.no_location()
    return _begun(call, vm, machine, call.object_of("properties"), call.tags())


def patch(call: Call) -> Response:
    """Return 200 with an operation after the merged script was begun anew; with 200 alone where only tags change.

    That a changed command runs again is inferred.
    """
    vm, machine = machine_of(call)
    before = _require(call)
    tags = call.tags() if call.body.get("tags") is not None else before["tags"]
    given = call.object_of("properties")
    if not given:
        changed = before | {"tags": tags}
        call.write(changed)
        return JSONResponse(changed)
    kept = {name: value for name, value in before["properties"].items() if name not in _NOT_KEPT}
    return _begun(call, vm, machine, kept | given, tags)


def _begun(
    call: Call, vm: dict[str, Any], machine: Machine, properties: dict[str, Any], tags: dict[str, str]
) -> Response:
    order, timeout_s = _order(call, properties)
    scripts.require_running(machine)
    resource_id, run = _id(call), chance.uuid4("arm/run-command")
    made: Document = {
        "id": resource_id,
        "name": call.path["name"],
        "type": RUN_COMMAND_TYPE,
        "location": vm["location"],
        "tags": tags,
        "properties": {name: value for name, value in properties.items() if name not in _NOT_KEPT},
    }
    with call.lock, call.world.store.transaction():
        before = call.read(resource_id)
        made["properties"]["provisioningState"] = "Updating" if before else "Creating"
        call.write(made)
        _write_view(call.world, resource_id, run, {"executionState": "Pending"})
    operation = begun(call, provider="Microsoft.Compute", location=machine.region)
    work = _Work(
        call=call, machine=machine, order=order, resource_id=resource_id, run=run, operation=operation,
        timeout_s=timeout_s,
    )  # fmt: skip
    _running(call.world).add(run)
    worker = threading.Thread(target=work.do, name="managed run command", daemon=True)
    worker.start()
    worker.join(PATIENCE_S)
    headers = {name: value for name, value in operation.headers.items() if name != "Location"}
    soon = {} if worker.is_alive() else {"Retry-After": "0"}
    return JSONResponse(made, 200 if before else 201, headers=headers | soon)


def _order(call: Call, properties: dict[str, Any]) -> tuple[Order, float]:
    """Return what the script orders, and its time in seconds. Raises `AzureError`."""
    asked = [name for name in _ABSENT if properties.get(name)]
    if asked:
        raise errors.not_here(f"{asked[0]} of a run command: the scripts of skrkit, which alone it takes, have none")
    source = call.object_of("source", properties)
    script = source.get("script")
    if script is None and (source.get("scriptUri") or source.get("commandId")):
        raise errors.not_here("scripts of other places, or Azure's own: a run command has its script in it")
    if not isinstance(script, str) or not script:
        raise errors.bad_request(
            "Required parameter 'runCommand.properties.source' is missing (null).",
            code="InvalidParameter",
            target="runCommand.properties.source",
        )  # (inferred)
    seconds = properties.get("timeoutInSeconds") or scripts.TIMEOUT_S
    if not isinstance(seconds, int) or not 0 < seconds <= scripts.TIMEOUT_S:
        raise errors.bad_request(
            f"The value of parameter timeoutInSeconds is invalid: 1 to {scripts.TIMEOUT_S}.",
            code="InvalidParameter",
            target="timeoutInSeconds",
        )  # (inferred)
    return scripts.order_of(script), float(seconds)


@dataclass(slots=True, kw_only=True)
class _Work:
    """One run of a managed run command, in a thread of its own. It waits for its turn in the VM."""

    call: Call
    machine: Machine
    order: Order
    resource_id: str
    run: str
    operation: Begun
    timeout_s: float
    ended: bool = False  # the operation: of a script that nobody waits for, long before its end

    def do(self) -> None:
        """Run the script; write down how it went, and end the operation: at once where it need not be waited for."""
        try:
            with scripts.turn_of(self.call, self.machine):
                view: Document = {"executionState": "Running", "startTime": self._now()}
                self._say(view)
                if self._properties().get("asyncExecution") is True:
                    self._end(None)
                view |= self._ran() | {"endTime": self._now()}
            self._say(view)
            self._end(self._failure(view))
        finally:
            _running(self.call.world).discard(self.run)

    def _now(self) -> str:
        return rfc3339(self.call.world.now())

    def _ran(self) -> Document:
        try:
            ended = scripts.run_in(self.call.world, self.machine, self.order, timeout_s=self.timeout_s)
        except subprocess.TimeoutExpired:
            return {"executionState": "TimedOut", "executionMessage": f"No end after {self.timeout_s:.0f} seconds."}
        except (OSError, subprocess.SubprocessError) as cause:
            return {"executionState": "Failed", "executionMessage": f"It could not be run: {type(cause).__name__}."}
        state = "Succeeded" if ended.exit_code == 0 else "Failed"
        said = f"RunCommand script execution {'completed' if ended.exit_code == 0 else 'failed'}"  # (inferred)
        return {
            "executionState": state,
            "executionMessage": said,
            "exitCode": ended.exit_code,
            "output": ended.out,
            "error": ended.err,
        }

    def _failure(self, view: Document) -> AzureError | None:
        """Return the error of a script that failed, where that is to be the resource's own. Its words are inferred."""
        wanted = self._properties().get("treatFailureAsDeploymentFailure") is True
        if view["executionState"] == "Succeeded" or not wanted:
            return None
        name = self.resource_id.rpartition("/")[2]
        message = f"VM has reported a failure when processing run command '{name}': {view['executionMessage']}."
        return AzureError(409, "VMExtensionProvisioningError", message)

    def _properties(self) -> dict[str, Any]:
        return (self.call.read(self.resource_id) or {}).get("properties") or {}

    def _current(self) -> bool:
        """Return whether the command is still there, and was not put anew in between. The lock is held."""
        kept = self.call.world.store.get(VIEW_KIND, self.resource_id.lower())
        return kept is not None and kept["run"] == self.run

    def _say(self, view: Document) -> None:
        with self.call.lock:
            if self._current():
                _write_view(self.call.world, self.resource_id, self.run, view)

    def _end(self, failure: AzureError | None) -> None:
        if self.ended:
            return
        self.ended = True
        with self.call.lock:
            made = self.call.read(self.resource_id)
            if made is not None and self._current():
                made["properties"]["provisioningState"] = "Failed" if failure else "Succeeded"
                self.call.write(made)
        self.operation.end(error=failure)


def get(call: Call) -> Response:
    """Return the run command; `$expand=instanceView` adds how its script went."""
    return JSONResponse(_shown(call, _require(call)))


def list_of_vm(call: Call) -> Response:
    """Return the run commands of a VM."""
    machine_of(call)
    prefix = f"{call.resource_id(VM_TYPE, call.path['vm'])}/runCommands/"
    found = [_shown(call, body) for _, body in call.world.store.list(ARM_KIND, prefix.lower())]
    return JSONResponse({"value": found})


def delete(call: Call) -> Response:
    """Return 202 after the run command was deleted, 204 if it was not there. A script that runs is not ended by it."""
    with call.lock:
        vm, _ = machine_of(call)
        if call.read(_id(call)) is None:
            return Response(status_code=204)
        _forget(call.world, _id(call))
    return Response(status_code=202, headers=finished(call, provider="Microsoft.Compute", location=str(vm["location"])))


def remove_of_machine(world: World, vm_id: str) -> None:
    """Forget the run commands of a VM that is deleted."""
    for key, _ in world.store.list(ARM_KIND, f"{vm_id}/runCommands/".lower()):
        _forget(world, key)


def _forget(world: World, resource_id: str) -> None:
    with world.store.transaction():
        world.store.delete(ARM_KIND, resource_id.lower())
        world.store.delete(VIEW_KIND, resource_id.lower())


def _shown(call: Call, body: Document) -> Document:
    if call.query.get("$expand", "").lower() != "instanceview":
        return body
    kept = call.world.store.get(VIEW_KIND, str(body["id"]).lower()) or {"run": "", "view": {}}
    view = kept["view"] | {"statuses": []}
    if view.get("executionState") in ("Pending", "Running") and kept["run"] not in _running(call.world):
        view |= {"executionState": "Canceled", "executionMessage": "The sandbox's process ended while it ran."}
    return body | {"properties": body["properties"] | {"instanceView": view}}


def _require(call: Call) -> Document:
    machine_of(call)
    found = call.read(_id(call))
    if found is None:
        raise errors.no_resource(RUN_COMMAND_TYPE, f"{call.path['vm']}/{call.path['name']}", call.path["group"])
    return found


def _id(call: Call) -> str:
    return f"{call.resource_id(VM_TYPE, call.path['vm'])}/runCommands/{call.path['name']}"


def _write_view(world: World, resource_id: str, run: str, view: Document) -> None:
    world.store.put(VIEW_KIND, resource_id.lower(), {"run": run, "view": view})


def _running(world: World) -> set[str]:
    """Return the runs that this process works on."""
    running: set[str] = world.cache.setdefault("managed-run-commands", set())
    return running


_VM = f"/subscriptions/{{subscription}}/resourceGroups/{{group}}/providers/{VM_TYPE}/{{vm}}"
_ONE = _VM + "/runCommands/{name}"
ROUTES: tuple[tuple[str, str, str, Handler], ...] = (
    ("PUT", _ONE, f"{RUN_COMMAND_TYPE}/write", put),
    ("PATCH", _ONE, f"{RUN_COMMAND_TYPE}/write", patch),
    ("GET", _ONE, f"{RUN_COMMAND_TYPE}/read", get),
    ("DELETE", _ONE, f"{RUN_COMMAND_TYPE}/delete", delete),
    ("GET", _VM + "/runCommands", f"{RUN_COMMAND_TYPE}/read", list_of_vm),
)
