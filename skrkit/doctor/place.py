"""Where the doctor stands: in a VM of the sandbox, in a confidential VM, or on any machine; and whom it can ask."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from skrkit.doctor.visit import Names, Visit

if TYPE_CHECKING:
    from skrkit.cloud import Cloud, IdentityChoice
    from skrkit.doctor.host import Host

Side = Literal["", "inside", "outside"]
_SUPPORTED = ("device:", "device", "swtpm:", "tbs:")


def in_sandbox(names: Names, side: Side, host: Host) -> Visit:
    """Return a visit to the sandbox: to its VM, as its operator, or both where no side is named.

    The sandbox is started if it does not run. Raises `UsageError` for a VM that it does not have.
    """
    from skrkit.cloud import Cloud
    from skrkit.provision.stage import Stage

    cloud = Cloud.sandbox()
    stage = Stage()
    named = Names(
        resource_group=names.resource_group or stage.resource_group,
        vm=names.vm or stage.vm,
        vault=names.vault or stage.vault,
        key=names.key or stage.key,
        attestation=names.attestation or stage.attestation,
        hsm=names.hsm,
        user_identity=names.user_identity,
    )
    return Visit(
        host=host,
        names=named,
        inside=_entered(cloud, names, named) if side != "outside" else None,
        outside=cloud if side != "inside" else None,
    )


def _entered(cloud: Cloud, given: Names, named: Names) -> Cloud:
    """Return the sandbox seen from inside its VM, which a group that was given tells from others of that name."""
    return cloud.enter(named.vm, resource_group=given.resource_group, identity=_choice(cloud, named))


def in_azure(cloud: Cloud, names: Names, side: Side, host: Host, *, calm: bool = False) -> Visit:
    """Return a visit to this machine as a VM in Azure, or from here to what it is given the names of.

    Nothing is asked yet. `calm` where nobody said that this machine is a confidential VM.
    """
    return Visit(
        host=host,
        names=names,
        inside=inside_of(cloud, names, host, os.environ) if side != "outside" else None,
        outside=cloud if side == "outside" else None,
        anywhere=cloud,
        calm=calm,
    )


def inside_of(cloud: Cloud, names: Names, host: Host, environ: Mapping[str, str]) -> Cloud | None:
    """Return this machine seen from inside, None where it has no TPM. TPM2TOOLS_TCTI names another than the device."""
    tcti, choice = environ.get("TPM2TOOLS_TCTI", ""), _choice(cloud, names)
    if tcti.startswith(_SUPPORTED):
        from skrkit.cloud import LINUX_EVENT_LOG

        # The identity is the VM's own, whichever TPM is asked.
        entered = replace(cloud, enter_vm=lambda outside, _vm: outside).enter(names.vm, identity=choice)
        return replace(entered, tpm_spec=tcti, event_log=LINUX_EVENT_LOG)
    if not host.tpm:
        return None
    if host.tpm.startswith("/dev/"):
        from skrkit.cloud import LINUX_EVENT_LOG

        entered = replace(cloud, enter_vm=lambda outside, _vm: outside).enter(names.vm, identity=choice)
        return replace(entered, tpm_spec=f"device:{host.tpm}", event_log=LINUX_EVENT_LOG)
    return cloud.enter(names.vm, identity=choice)


def _choice(cloud: Cloud, names: Names) -> IdentityChoice | None:
    """Return the choice of the user-assigned identity that was named, None for what IMDS takes by itself."""
    from skrkit.provision.identity import known_choice
    from skrkit.provision.stage import Stage

    if not names.user_identity:
        return None
    stage = Stage(identity="user", user_identity=names.user_identity)
    return known_choice(cloud, replace(stage, resource_group=names.resource_group or stage.resource_group))
