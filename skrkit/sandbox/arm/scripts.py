"""A script in a VM of the sandbox: one of skrkit's own, and no other; what it wrote and how it ended.

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
from dataclasses import dataclass
from typing import TYPE_CHECKING

from skrkit.run_command.answer import MAX_OUTPUT_BYTES
from skrkit.run_command.order import Order, order_in
from skrkit.sandbox.arm import errors
from skrkit.sandbox.arm.call import Call
from skrkit.sandbox.endpoint import HOME_VARIABLE, MACHINES_FOLDER
from skrkit.sandbox.environment import environment_of
from skrkit.sandbox.machine import Machine
from skrkit.sandbox.web import AzureError

if TYPE_CHECKING:
    from skrkit.sandbox.world import World

TIMEOUT_S = 5400  # Azure's 90 minutes
FOLDER = "run-command"  # of a VM, beside its event log: where the far end keeps its answer
_IN_THE_VM = ("release", "answer")  # a VM of the sandbox has skrkit: nothing is carried into it


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a script ended: its exit code, and the last 4096 bytes of each stream as text."""

    exit_code: int
    out: str
    err: str


def order_of(script: str) -> Order:
    """Return what a script orders. Raises `AzureError` 501 for every script that is not skrkit's, and for carrying."""
    order = order_in(script if script.endswith("\n") else f"{script}\n")  # the Azure CLI cuts a file's last one off
    if order is None:
        raise errors.not_here(
            "the machine for this script: it would run on this computer. It takes the scripts of `skrkit walkthrough "
            "--remote` alone; any program runs with `skrkit sandbox exec --vm NAME -- PROGRAM`"
        )
    if order.do not in _IN_THE_VM:
        raise errors.not_here(f"a machine to {order.do} skrkit in: its VMs have it already")
    if order.do == "release" and order.members.get("world") != "sandbox":
        raise errors.not_here("a way out: an order for its VMs says that they are the sandbox's")
    return order


def require_running(machine: Machine) -> None:
    """Return nothing for a VM that runs. Raises `AzureError` 409; its words are general knowledge, of no recording."""
    if machine.power != "running":
        raise AzureError(409, "OperationNotAllowed", "Cannot modify extensions in the VM when the VM is not running.")


def turn_of(call: Call, machine: Machine) -> threading.Lock:
    """Return the lock that a script holds while it runs in a VM: the far end keeps one answer."""
    with call.lock:
        turns: dict[str, threading.Lock] = call.world.cache.setdefault("run-command", {})
        return turns.setdefault(machine.vm_id, threading.Lock())


def run_in(world: World, machine: Machine, order: Order, *, timeout_s: float = TIMEOUT_S) -> Ended:
    """Return how the script of an order ended. Raises `OSError`, `subprocess.SubprocessError`."""
    endpoint = world.cache["server"].endpoint
    variables, removed = environment_of(endpoint, machine.resource_id)
    environment = {name: value for name, value in os.environ.items() if name not in removed} | variables
    environment[HOME_VARIABLE] = str(world.home)
    folder = world.home / MACHINES_FOLDER / machine.vm_id / FOLDER
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    done = subprocess.run(  # noqa: S603 - our own interpreter and module
        [sys.executable, "-P", "-m", "skrkit.remote.inside", str(folder), json.dumps(order.to_json())],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=environment,
        cwd=folder,
        timeout=timeout_s,
        check=False,
    )
    out, err = (stream[-MAX_OUTPUT_BYTES:].decode("utf-8", "replace") for stream in (done.stdout, done.stderr))
    return Ended(exit_code=done.returncode, out=out, err=err)
