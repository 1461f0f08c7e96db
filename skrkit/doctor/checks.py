"""The checks in their order: the order in which a release passes what they look at."""

from __future__ import annotations

from skrkit.doctor import clock, evidence, hsm, imds, maa, machine, outside, vault
from skrkit.doctor.check import Check

ALL: tuple[Check, ...] = (
    *machine.CHECKS,
    *evidence.REPORT_CHECKS,
    *imds.REACHABLE,
    *evidence.ENDORSEMENT_CHECKS,
    *evidence.TPM_CHECKS,
    *imds.CHECKS,
    *outside.CHECKS,
    *hsm.CHECKS,
    *maa.REACHABLE,
    *clock.CHECKS,
    *maa.CHECKS,
    *hsm.REACHABLE,
    *vault.CHECKS,
    *vault.POLICY_CHECKS,
    *evidence.DEBUG_CHECKS,
    *outside.POLICY_CHECKS,
    *vault.RELEASE_CHECKS,
)
"""Every check there is."""

_HSM = frozenset(check.id for check in (*hsm.CHECKS, *hsm.REACHABLE))
_VAULT = frozenset({"vault.resource", "vault.grant", "vault.reachable"})

HERE = machine.CHECKS
"""What can be asked of a machine of which nothing is known: no network, and nothing written but to a CVM's vTPM."""


def checks_for(*, inside: bool, outside: bool, hsm: bool = False) -> tuple[Check, ...]:
    """Return the checks of one side or of both, in order; those of "both" belong to either.

    `hsm` where a Managed HSM has the key: what is asked of a vault alone is then asked of it in other words.
    """
    wanted = {"both"} | ({"inside"} if inside else set()) | ({"outside"} if outside else set())
    left_out = _VAULT if hsm else _HSM
    return tuple(check for check in ALL if check.side in wanted and check.id not in left_out)
