"""Azure's run command: a script that the VM's agent runs as root, and what it wrote."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from skrkit.errors import ServiceError
from skrkit.services.azure_errors import azure_call

if TYPE_CHECKING:
    from azure.mgmt.compute import ComputeManagementClient

_OUT, _ERR = "[stdout]\n", "\n[stderr]\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What a script wrote, the last 4096 bytes of each stream. Its exit code is not told."""

    stdout: str
    stderr: str


def run_script(compute: ComputeManagementClient, *, resource_group: str, vm: str, script: str) -> Output:
    """Return what the script wrote, when it has ended.

    The caller needs Microsoft.Compute/virtualMachines/runCommand/action: Virtual Machine Contributor has it. Raises
    `ServiceError` when Resource Manager refuses, and for an answer in another shape.
    """
    from azure.mgmt.compute.models import RunCommandInput

    from skrkit.run_command.order import lines_of

    body = RunCommandInput(command_id="RunShellScript", script=lines_of(script))
    with azure_call(f"run command in VM {vm}"):
        result = compute.virtual_machines.begin_run_command(resource_group, vm, body).result()
    for status in result.value or []:
        output = parse_message(status.message or "")
        if output is not None:
            return output
    raise ServiceError(
        what=f"run command in VM {vm}",
        where="its result, /value/0/message",
        expected="[stdout] and [stderr]",
        found="neither of them",
        fix="Is it Linux? For Windows run skrkit in the VM itself: skrkit walkthrough --cloud azure --step 4",
    )


def parse_message(message: str) -> Output | None:
    """Return both streams of the one message that Linux's run command answers with, or None for another text."""
    _, marked, streams = message.partition(_OUT)
    out, parted, err = streams.rpartition(_ERR)
    if not (marked and parted):
        return None
    return Output(stdout=out, stderr=err.strip())
