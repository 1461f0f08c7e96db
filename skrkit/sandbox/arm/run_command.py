"""Run command, the action: a script inside a VM, and what it wrote as the answer. `scripts` says which scripts."""

from __future__ import annotations

import subprocess
import threading
from typing import Any

from starlette.responses import Response

from skrkit.run_command.order import Order, joined
from skrkit.sandbox.arm import errors, scripts
from skrkit.sandbox.arm.call import VM_TYPE, Call, Handler
from skrkit.sandbox.arm.operations import begun
from skrkit.sandbox.arm.power import machine_of
from skrkit.sandbox.web import AzureError

PATIENCE_S = 2.0  # a script that has ended by then is answered for at the first poll
_VM = f"/subscriptions/{{subscription}}/resourceGroups/{{group}}/providers/{VM_TYPE}/{{vm}}"
_COMMANDS = ("RunShellScript",)


def run(call: Call) -> Response:
    """Return 202 with an operation, at whose end `Location` answers with what the script wrote.

    Raises `AzureError` for a VM that is off, one in which another script runs, and every script that is not skrkit's.
    """
    _, machine = machine_of(call)
    order = _order(call)
    scripts.require_running(machine)
    turn = scripts.turn_of(call, machine)
    if not turn.acquire(blocking=False):
        raise AzureError(
            409,
            "Conflict",
            "Run command extension execution is in progress. Please wait for completion before invoking a run command.",
        )
    operation = begun(call, provider="Microsoft.Compute", location=machine.region)

    def work() -> None:
        try:
            operation.end(_result(scripts.run_in(call.world, machine, order)))
        except (OSError, subprocess.SubprocessError) as cause:
            message = f"The script could not be run: {type(cause).__name__}."
            operation.end(error=AzureError(409, "VMExtensionProvisioningError", message))
        finally:
            turn.release()

    worker = threading.Thread(target=work, name="run command", daemon=True)
    worker.start()
    worker.join(PATIENCE_S)
    soon = {} if worker.is_alive() else {"Retry-After": "0"}
    return Response(status_code=202, headers=operation.headers | soon)


def _order(call: Call) -> Order:
    command, script = call.body.get("commandId"), call.body.get("script")
    if not isinstance(command, str) or not command:
        raise errors.bad_request(
            "Required parameter 'commandId' is missing (null).", code="InvalidParameter", target="commandId"
        )
    if command.lower() not in {known.lower() for known in _COMMANDS}:
        raise errors.not_here(f"the run command {command!r}: its VMs are Linux, and take RunShellScript")
    if not isinstance(script, list) or not all(isinstance(line, str) for line in script):
        raise errors.bad_request("The property 'script' must be a list of texts.", code="InvalidRequestContent")
    if call.body.get("parameters"):
        raise errors.not_here("parameters of a script: those of skrkit, which alone it takes, have none")
    return scripts.order_of(joined(script))


def _result(ended: scripts.Ended) -> dict[str, Any]:
    """Return what Azure answers for Linux: one status, whose message holds the end of both streams."""
    return {
        "value": [
            {
                "code": "ProvisioningState/succeeded",
                "level": "Info",
                "displayStatus": "Provisioning succeeded",
                "message": f"Enable succeeded: \n[stdout]\n{ended.out}\n[stderr]\n{ended.err}",
            }
        ]
    }


ROUTES: tuple[tuple[str, str, str, Handler], ...] = (
    ("POST", _VM + "/runCommand", f"{VM_TYPE}/runCommand/action", run),
)
