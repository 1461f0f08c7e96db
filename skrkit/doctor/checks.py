"""The checks in their order: the order in which a release passes what they look at."""

from __future__ import annotations

from skrkit.doctor import clock, evidence, imds, maa, machine, outside, vault
from skrkit.doctor.check import Check

ALL: tuple[Check, ...] = (
    *machine.CHECKS,
    *evidence.REPORT_CHECKS,
    *imds.REACHABLE,
    *evidence.ENDORSEMENT_CHECKS,
    *evidence.TPM_CHECKS,
    *imds.CHECKS,
    *outside.CHECKS,
    *maa.REACHABLE,
    *clock.CHECKS,
    *maa.CHECKS,
    *vault.CHECKS,
    *vault.POLICY_CHECKS,
    *evidence.DEBUG_CHECKS,
    *outside.POLICY_CHECKS,
    *vault.RELEASE_CHECKS,
)
"""Every check there is."""

HERE = machine.CHECKS
"""What can be asked of a machine of which nothing is known: no network, and nothing written but to a CVM's vTPM."""


def checks_for(*, inside: bool, outside: bool) -> tuple[Check, ...]:
    """Return the checks of one side or of both, in order; those of "both" belong to either."""
    wanted = {"both"} | ({"inside"} if inside else set()) | ({"outside"} if outside else set())
    return tuple(check for check in ALL if check.side in wanted)
