"""Run command, the action: a script inside a VM. Here that is one of skrkit's own, and no other.

A script of Azure's run command is anybody's program, run as root. The sandbox is no virtual machine: such a program
would run on this computer, as this user. So it takes only the scripts that skrkit itself writes, to the letter, and
does what they order by starting skrkit's own far end with that VM's environment, as `skrkit sandbox exec` would.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from typing import Any

from starlette.responses import Response

from skrkit.run_command.answer import MAX_OUTPUT_BYTES
from skrkit.run_command.order import Order, joined, order_in
from skrkit.sandbox.arm import errors
from skrkit.sandbox.arm.call import VM_TYPE, Call, Handler
from skrkit.sandbox.arm.operations import begun
from skrkit.sandbox.arm.power import machine_of
from skrkit.sandbox.endpoint import HOME_VARIABLE, MACHINES_FOLDER
from skrkit.sandbox.environment import environment_of
from skrkit.sandbox.machine import Machine
from skrkit.sandbox.web import AzureError

TIMEOUT_S = 5400  # Azure's 90 minutes
PATIENCE_S = 2.0  # a script that has ended by then is answered for at the first poll
FOLDER = "run-command"  # of a VM, beside its event log: where the far end keeps its answer
_VM = f"/subscriptions/{{subscription}}/resourceGroups/{{group}}/providers/{VM_TYPE}/{{vm}}"
_COMMANDS = ("RunShellScript",)
_IN_THE_VM = ("release", "answer")  # a VM of the sandbox has skrkit: nothing is carried into it


def run(call: Call) -> Response:
    """Return 202 with an operation, at whose end `Location` answers with what the script wrote.

    Raises `AzureError` for a VM that is off, one in which another script runs, and every script that is not skrkit's.
    """
    _, machine = machine_of(call)
    order = _order(call)
    if machine.power != "running":
        raise AzureError(
            409, "OperationNotAllowed", "Cannot modify extensions in the VM when the VM is not running."
        )  # general knowledge, held against no recording
    busy: set[str] = call.world.cache.setdefault("run-command", set())
    with call.lock:
        if machine.vm_id in busy:
            raise AzureError(
                409,
                "Conflict",
                "Run command extension execution is in progress. Please wait for completion before invoking a run "
                "command.",
            )
        busy.add(machine.vm_id)
    operation = begun(call, provider="Microsoft.Compute", location=machine.region)

    def work() -> None:
        try:
            operation.end(_result(*_run(call, machine, order)))
        except (OSError, subprocess.SubprocessError) as cause:
            message = f"The script could not be run: {type(cause).__name__}."
            operation.end(error=AzureError(409, "VMExtensionProvisioningError", message))
        finally:
            busy.discard(machine.vm_id)

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
    order = order_in(joined(script))
    if order is None or call.body.get("parameters"):
        raise errors.not_here(
            "the machine for this script: it would run on this computer. It takes the scripts of `skrkit walkthrough "
            "--remote` alone; any program runs with `skrkit sandbox exec --vm NAME -- PROGRAM`"
        )
    if order.do not in _IN_THE_VM:
        raise errors.not_here(f"a machine to {order.do} skrkit in: its VMs have it already")
    if order.do == "release" and order.members.get("world") != "sandbox":
        raise errors.not_here("a way out: an order for its VMs says that they are the sandbox's")
    return order


def _run(call: Call, machine: Machine, order: Order) -> tuple[bytes, bytes]:
    """Return what the far end wrote to its standard output and standard error."""
    endpoint = call.world.cache["server"].endpoint
    variables, removed = environment_of(endpoint, machine.resource_id)
    environment = {name: value for name, value in os.environ.items() if name not in removed} | variables
    environment[HOME_VARIABLE] = str(call.world.home)
    folder = call.world.home / MACHINES_FOLDER / machine.vm_id / FOLDER
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    done = subprocess.run(  # noqa: S603 - our own interpreter and module
        [sys.executable, "-P", "-m", "skrkit.remote.inside", str(folder), json.dumps(order.to_json())],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=environment,
        cwd=folder,
        timeout=TIMEOUT_S,
        check=False,
    )
    return done.stdout, done.stderr


def _result(out: bytes, err: bytes) -> dict[str, Any]:
    """Return what Azure answers for Linux: one status, whose message holds the end of both streams."""
    said, wrong = (stream[-MAX_OUTPUT_BYTES:].decode("utf-8", "replace") for stream in (out, err))
    return {
        "value": [
            {
                "code": "ProvisioningState/succeeded",
                "level": "Info",
                "displayStatus": "Provisioning succeeded",
                "message": f"Enable succeeded: \n[stdout]\n{said}\n[stderr]\n{wrong}",
            }
        ]
    }


ROUTES: tuple[tuple[str, str, str, Handler], ...] = (
    ("POST", _VM + "/runCommand", f"{VM_TYPE}/runCommand/action", run),
)
