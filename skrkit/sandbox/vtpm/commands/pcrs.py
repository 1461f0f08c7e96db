"""TPM2_PCR_*: reading, extending and resetting PCRs."""

from __future__ import annotations

from skrkit.sandbox.vtpm.algorithms import digest
from skrkit.sandbox.vtpm.buffer import tpm2b, u16, u32
from skrkit.sandbox.vtpm.codes import Cc, Rc, Rh, TpmError
from skrkit.sandbox.vtpm.core import Core
from skrkit.sandbox.vtpm.pcr import LOCALITY_ONLY, RESETTABLE
from skrkit.sandbox.vtpm.registry import Handles, Reply, Role, command
from skrkit.sandbox.vtpm.structures import Selections, marshal_selections, read_digest_values, read_selections

MAX_EVENT = 1024


@command(Cc.PCR_Read, read_selections)
def pcr_read(core: Core, selections: Selections) -> Reply:
    """TPM2_PCR_Read: the update counter, which PCRs are answered, and their values; eight at most."""
    pcrs = core.state.pcrs
    answered, values = pcrs.read(selections)
    listed = u32(len(values)) + b"".join(tpm2b(value) for value in values)
    return Reply(parameters=u32(pcrs.counter) + marshal_selections(answered) + listed)


@command(Cc.PCR_Extend, read_digest_values, handles=((Handles.PCR_OR_NULL, Role.USER),))
def pcr_extend(core: Core, pcr: int, values: tuple[tuple[int, bytes], ...]) -> Reply:
    """TPM2_PCR_Extend: PCR = H(PCR ‖ digest), in each bank that is named and present."""
    if pcr == Rh.NULL:
        return Reply()
    _check_locality(pcr)
    for alg, value in values:
        core.state.pcrs.extend(pcr, alg, value)
    core.dirty = True
    return Reply()


@command(
    Cc.PCR_Event,
    lambda reader: reader.sized(MAX_EVENT),
    handles=((Handles.PCR_OR_NULL, Role.USER),),
    first_sized=True,
)
def pcr_event(core: Core, pcr: int, event: bytes) -> Reply:
    """TPM2_PCR_Event: extend every bank with its own digest of the event; the digests are answered."""
    pcrs = core.state.pcrs
    digests = {alg: digest(alg, event) for alg in pcrs.banks}
    if pcr != Rh.NULL:
        _check_locality(pcr)
        for alg, value in digests.items():
            pcrs.extend(pcr, alg, value)
        core.dirty = True
    return Reply(parameters=u32(len(digests)) + b"".join(u16(alg) + value for alg, value in digests.items()))


@command(Cc.PCR_Reset, handles=((Handles.PCR, Role.USER),))
def pcr_reset(core: Core, pcr: int) -> Reply:
    """TPM2_PCR_Reset: the debug PCR and the application's, at locality 0."""
    if pcr not in RESETTABLE:
        raise TpmError(Rc.LOCALITY)
    core.state.pcrs.reset(pcr)
    core.dirty = True
    return Reply()


def _check_locality(pcr: int) -> None:
    if pcr in LOCALITY_ONLY:
        raise TpmError(Rc.LOCALITY)
