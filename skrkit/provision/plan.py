"""What a walkthrough would change in Azure, in words, before it is told to."""

from __future__ import annotations

import argparse
import os
from collections.abc import Collection

from skrkit.errors import UsageError
from skrkit.provision.roles import RELEASE_ROLE
from skrkit.provision.stage import Stage
from skrkit.services.hsm import RELEASE_ROLE as LOCAL_RELEASE_ROLE

_NEEDED = ("resource_group", "vm", "vault", "key", "attestation")


def check_azure_names(arguments: argparse.Namespace) -> None:
    """Return nothing if every name that Azure needs was given. Raises `UsageError` listing what is missing."""
    in_hsm = getattr(arguments, "hsm", None) is not None
    needed = [*(name for name in _NEEDED if name != "vault" or not in_hsm), *(("hsm",) if in_hsm else ())]
    missing = [f"--{name.replace('_', '-')}" for name in needed if not getattr(arguments, name)]
    if not (arguments.subscription or os.environ.get("AZURE_SUBSCRIPTION_ID")):
        missing.append("--subscription (nor AZURE_SUBSCRIPTION_ID)")
    if missing:
        raise UsageError(
            what="walkthrough --cloud azure",
            where="the command line",
            expected="the names of your own resources",
            found=f"no {', '.join(missing)}",
            fix="Name an existing confidential VM and Premium vault or Managed HSM, a new key, and your region's "
            "provider.",
        )


def plan_of(stage: Stage, steps: Collection[int], *, remote: bool = False) -> list[str]:
    """Return one sentence for each thing that these steps would read or change, in order.

    A step takes those before it along, but for step 4 alone, which runs inside the VM with what is there. `remote` says
    that it is sent there by run command.
    """
    keys = ", ".join(stage.keys)
    which = "by run command, as root" if remote else "which must be this machine"
    inside = f"{which}: write a nonce's digest to its vTPM (NV index 0x01400002)"
    lines = [
        f"VM {stage.vm} in {stage.resource_group}: {_identity_plan(stage)}",
        f"{stage.holder}: {_access_plan(stage)}",
        f"{stage.holder}: create exportable HSM keys {keys}, each with a release policy and billed while there",
        f"Inside {stage.vm}, {inside}, attest at {stage.attestation}, release the keys; no key is written anywhere",
    ]
    if remote:
        lines.insert(
            3,
            f"Inside {stage.vm}, {which}: put this skrkit into /var/lib/skrkit, with its dependencies from the VM's "
            "package index, and python3-venv from its distribution if there is no Python with venv (stays)",
        )
    return lines[3:] if tuple(steps) == (4,) else lines if 4 in steps else lines[: max(steps)]


def _access_plan(stage: Stage) -> str:
    if stage.hsm:
        return f"assign {LOCAL_RELEASE_ROLE} (a local role) to that identity, at each key alone"
    role = f"assign {RELEASE_ROLE} to that identity, at each key alone"
    if stage.rbac:
        return role
    return f"add key permission `release` for that identity (merged, no entry lost); if it goes by Azure roles, {role}"


def _identity_plan(stage: Stage) -> str:
    own = "switch its system-assigned identity on, if it is off (stays on)"
    user = f"assign it the user-assigned identity {stage.user_identity}, which is made if it is not there (stays)"
    return {"system": own, "user": user}.get(stage.identity, f"{own}; {user}")
