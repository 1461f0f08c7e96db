"""What a machine says of itself, read from a tree as Linux has it, and from this one."""

from __future__ import annotations

from pathlib import Path

import pytest

from skrkit.doctor.host import AZURE_CHASSIS, host_of

# What cloud-init, an independent reader, takes for Azure: sources/DataSourceAzure.py, CHASSIS_ASSET_TAG.
AZURE_TAG = "7783-7084-3265-9085-8269-3286-77"


def tree(root: Path, **texts: str) -> Path:
    """Write files under `root`; two underscores in a name are a slash."""
    for name, text in texts.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_a_vm_in_azure_is_known_by_its_chassis(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        sys__class__dmi__id__sys_vendor="Microsoft Corporation\n",
        sys__class__dmi__id__product_name="Virtual Machine\n",
        sys__class__dmi__id__chassis_asset_tag=AZURE_TAG + "\n",
        proc__cpuinfo="processor\t: 0\nflags\t\t: fpu hypervisor sse\n",
        dev__tpm0="",
        dev__tpmrm0="",
    )
    host = host_of(root)
    assert AZURE_CHASSIS == AZURE_TAG
    assert (host.in_azure, host.hypervisor, host.tpm) == (True, True, "/dev/tpmrm0")
    assert "a virtual machine by Microsoft Corporation Virtual Machine" in host.words
    assert host.to_json()["in_azure"] is True


def test_a_pc_is_no_vm_in_azure(tmp_path: Path) -> None:
    root = tree(tmp_path, sys__class__dmi__id__sys_vendor="LENOVO\n", proc__cpuinfo="flags : fpu sse\n", dev__tpm0="")
    host = host_of(root)
    assert (host.in_azure, host.hypervisor, host.tpm) == (False, False, "/dev/tpm0")
    assert "a machine by LENOVO" in host.words


def test_a_system_that_says_nothing_has_no_tpm(tmp_path: Path) -> None:
    host = host_of(tmp_path)
    assert (host.vendor, host.hypervisor, host.in_azure) == ("", False, False)


@pytest.mark.parametrize("text", ["", "\xff" * 10_000, "flags"])
def test_what_the_kernel_says_is_taken_as_it_is(tmp_path: Path, text: str) -> None:
    host = host_of(tree(tmp_path, proc__cpuinfo=text, sys__class__dmi__id__sys_vendor=text))
    assert host.hypervisor is False
    assert len(host.vendor) <= 256


def test_this_machine_can_be_asked_without_rights() -> None:
    host = host_of()
    assert host.system
    assert host.architecture
