"""What a walkthrough would change in Azure, in words, before it is told to."""

from __future__ import annotations

import argparse
from collections.abc import Collection

from skrkit.errors import UsageError
from skrkit.provision.stage import Stage

_NEEDED = ("resource_group", "vm", "vault", "key", "attestation")


def check_azure_names(arguments: argparse.Namespace) -> None:
    """Return nothing if every name that Azure needs was given. Raises `UsageError` listing what is missing."""
    missing = [f"--{name.replace('_', '-')}" for name in _NEEDED if not getattr(arguments, name)]
    if missing:
        raise UsageError(
            what="walkthrough --cloud azure",
            where="the command line",
            expected="the names of your own resources",
            found=f"no {', '.join(missing)}",
            fix="Name an existing confidential VM and Premium vault, a new key, and your region's provider.",
        )


def plan_of(stage: Stage, steps: Collection[int]) -> list[str]:
    """Return one sentence for each thing that these steps would read or change, in order."""
    last = max(steps)
    keys = ", ".join((stage.key, stage.ec_key, stage.platform_key))
    lines = [
        f"VM {stage.vm} in {stage.resource_group}: switch its system-assigned identity on, if it is off (stays on)",
        f"Vault {stage.vault}: add key permission `release` for that identity (an access policy is merged, none lost)",
        f"Vault {stage.vault}: create exportable HSM keys {keys}, each with a release policy and billed while there",
        f"Inside {stage.vm}: attest at {stage.attestation}, release the keys, compare them; nothing is written",
    ]
    return lines[:last]
