"""Faults of the machine that attests: what it lacks, or what is wrong with it before any evidence is read."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from skrkit.sandbox.faults.fault import Fault

if TYPE_CHECKING:
    from skrkit.sandbox.world import World

CLOCK_BEHIND = timedelta(minutes=30)
"""How far the machine's clock is behind the cloud's: more than the five minutes that a verifier lets pass."""

FAULTS: tuple[Fault, ...] = (
    Fault(
        name="machine.no-nv-index",
        group="machine",
        title="The vTPM has no HCL report",
        does="NV index 0x01400001 is not defined, as in the vTPM of a machine that is no confidential VM.",
    ),
    Fault(
        name="machine.tpm-locked",
        group="machine",
        title="The vTPM is locked out",
        does="The vTPM answers every command that needs an authorisation with TPM_RC_LOCKOUT, as after too many wrong "
        "ones. (Stricter than a TPM, which goes on to serve what is exempt from that protection.)",
    ),
    Fault(
        name="machine.clock-skew",
        group="machine",
        title="The machine's clock is behind",
        does="The machine's clock is half an hour behind: whatever the cloud issues now is of the future to it.",
    ),
)


def cloud_time(world: World, time: datetime) -> datetime:
    """Return the time that the cloud takes this moment for. The machine's clock is the caller's, and says `time`."""
    return time + CLOCK_BEHIND if world.faulty("machine.clock-skew") else time
