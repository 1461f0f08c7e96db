"""Starting and stopping confidential VMs. A machine that is off has no door: no IMDS, no vTPM, no run command."""

from __future__ import annotations

from starlette.responses import Response

from skrkit.sandbox.arm.call import VM_TYPE, Call, Handler
from skrkit.sandbox.arm.operations import finished
from skrkit.sandbox.machine import Machine
from skrkit.sandbox.web import AzureError

_VM = f"/subscriptions/{{subscription}}/resourceGroups/{{group}}/providers/{VM_TYPE}/{{vm}}"


def machine_of(call: Call) -> tuple[dict[str, object], Machine]:
    """Return the VM of the path, and its machine. Raises `AzureError` 404."""
    vm = call.require(VM_TYPE, call.path["vm"])
    machine = call.world.machines.get(str(vm["id"]))
    assert machine is not None  # made before its resource, removed after it
    return vm, machine


def start(call: Call) -> Response:
    """Return 202 after the VM was started; one that runs already goes on running."""
    with call.lock:
        vm, machine = machine_of(call)
        if machine.power != "running":
            machine.reboot()
    return _accepted(call, vm)


def restart(call: Call) -> Response:
    """Return 202 after the VM was booted again: PCRs measured anew, the NULL hierarchy's keys gone.

    Raises `AzureError` 409 for one that does not run (its words are inferred).
    """
    with call.lock:
        vm, machine = machine_of(call)
        if machine.power != "running":
            raise AzureError(409, "OperationNotAllowed", f"Cannot restart VM '{vm['name']}' because it is not running.")
        machine.reboot()
    return _accepted(call, vm)


def power_off(call: Call) -> Response:
    """Return 202 after the VM was stopped. In Azure it is billed on: its host is kept for it."""
    with call.lock:
        vm, machine = machine_of(call)
        if machine.power == "running":
            machine.shut_down("stopped")
    return _accepted(call, vm)


def deallocate(call: Call) -> Response:
    """Return 202 after the VM was stopped and its host given back."""
    with call.lock:
        vm, machine = machine_of(call)
        if machine.power != "deallocated":
            machine.shut_down("deallocated")
    return _accepted(call, vm)


def _accepted(call: Call, vm: dict[str, object]) -> Response:
    headers = finished(call, provider="Microsoft.Compute", location=str(vm["location"]))
    return Response(status_code=202, headers=headers)


ROUTES: tuple[tuple[str, str, str, Handler], ...] = (
    ("POST", _VM + "/start", f"{VM_TYPE}/start/action", start),
    ("POST", _VM + "/restart", f"{VM_TYPE}/restart/action", restart),
    ("POST", _VM + "/powerOff", f"{VM_TYPE}/powerOff/action", power_off),
    ("POST", _VM + "/deallocate", f"{VM_TYPE}/deallocate/action", deallocate),
)
