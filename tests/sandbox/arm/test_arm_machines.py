"""A VM of Resource Manager is a machine with a vTPM, made by the real `Machines`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from skrkit.sandbox.arm.app import app
from skrkit.sandbox.machines import Machines
from tests.sandbox.arm.test_arm_clients import VM, vm_id
from tests.sandbox.vault.azure import Azure


@pytest.fixture
def azure(tmp_path: Path) -> Iterator[Azure]:
    made = Azure(tmp_path)
    made.world.machines = Machines(made.world.store, made.world.silicon, made.clock)
    made.apps["management.azure.com"] = app(made.world)
    made.make_group()
    yield made
    made.world.store.close()


def test_a_vm_has_a_machine_of_the_same_id(azure: Azure) -> None:
    path = f"{vm_id()}?api-version=2026-04-01"
    vm = azure.arm("PUT", path, VM)
    assert vm.status_code == 201
    machine = azure.world.machines.get(vm_id().upper())
    assert machine is not None
    assert machine.vm_id == vm.json()["properties"]["vmId"]
    assert (machine.region, machine.secure_boot) == ("westeurope", True)
    assert azure.arm("DELETE", path).status_code == 202
    assert azure.world.machines.get(vm_id()) is None
    assert azure.arm("PUT", path, VM).json()["properties"]["vmId"] != machine.vm_id
