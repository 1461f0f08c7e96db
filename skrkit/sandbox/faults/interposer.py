"""What stands between a guest and its vTPM while a fault of the vTPM is on: another object, or another answer.

Every command is still answered by the vTPM itself, which authorises, signs and refuses as ever.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from skrkit.sandbox import keygen
from skrkit.sandbox.certificateparts import name_of
from skrkit.sandbox.vtpm.codes import ST_NO_SESSIONS, ST_SESSIONS, Cc, Rc
from skrkit.sandbox.vtpm.vtpm import AK_HANDLE

if TYPE_CHECKING:
    from skrkit.sandbox.machine import Machine
    from skrkit.sandbox.vtpm.keys import Key
    from skrkit.sandbox.vtpm.nv import NvIndex

NV_HCL_REPORT, NV_AK_CERTIFICATE = 0x01400001, 0x01C101D0
EARLIER_NONCE = bytes.fromhex("5ca1ab1e" * 8)
"""The nonce of somebody else, to whom the replayed quote once answered."""
PLACEHOLDER_ISSUER = "Microsoft Azure Trusted VM RSA CA"
"""Azure's guest library takes an AK certificate of such an issuer for one that is not provisioned yet."""


def answer(machine: Machine, command: bytes) -> bytes:
    """Return what the guest gets for a command: the vTPM's answer, unless a fault has another."""
    faulty, vtpm = machine.faulty, machine.vtpm
    if not machine.faults():
        return vtpm.transceive(command)
    if faulty("machine.tpm-locked") and command[:2] == ST_SESSIONS.to_bytes(2, "big"):
        return _refusal(Rc.LOCKOUT)
    nv, keys = _other_indexes(machine), dict[int, "Key"]()
    if faulty("evidence.ak-not-in-report"):
        keys[AK_HANDLE] = vtpm.other_attestation_key()
    nonce = EARLIER_NONCE if faulty("evidence.quote-nonce") else None
    certified = AK_HANDLE if faulty("evidence.key-outside-vtpm") else None  # the AK's word for itself
    if nv or keys or nonce or certified:
        with vtpm.standing_in(nv=nv, keys=keys, nonce=nonce, certified=certified):
            response = vtpm.transceive(command)
    else:
        response = vtpm.transceive(command)
    if faulty("evidence.quote-pcrs") and int.from_bytes(command[6:10], "big") == Cc.PCR_Read:
        return _with_another_value(response)
    return response


def _refusal(code: int) -> bytes:
    return ST_NO_SESSIONS.to_bytes(2, "big") + (10).to_bytes(4, "big") + code.to_bytes(4, "big")


def _other_indexes(machine: Machine) -> dict[int, NvIndex | None]:
    """Return the NV indexes that are not as they should be, None for one that is not there."""
    nv: dict[int, NvIndex | None] = {}
    if machine.faulty("machine.no-nv-index"):
        nv[NV_HCL_REPORT] = None
    # The guest may have taken the index away, to write a certificate of its own.
    if machine.faulty("evidence.ak-certificate") and machine.vtpm.nv_data(NV_AK_CERTIFICATE) is not None:
        nv[NV_AK_CERTIFICATE] = machine.vtpm.nv_holding(NV_AK_CERTIFICATE, _placeholder(machine))
    return nv


def _with_another_value(response: bytes) -> bytes:
    """Return an answer to TPM2_PCR_Read with one bit of its last value flipped, as if that PCR had moved since."""
    refused = response[6:10] != bytes(4)
    return response if refused else response[:-1] + bytes([response[-1] ^ 1])


def _placeholder(machine: Machine) -> bytes:
    """Return a certificate of the AK by an authority that nobody trusts: what is there before Azure provisions one."""
    made: bytes | None = machine.stand_ins.get("ak-certificate")
    if made is None:
        key = keygen.rsa_key("fault/placeholder", 2048)
        name = name_of(PLACEHOLDER_ISSUER)
        now = machine.silicon.factory().ask.not_valid_before_utc
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(machine.vtpm.ak_public_key())
            .serial_number(1)
            .not_valid_before(now)
            .not_valid_after(now + timedelta(days=3650))
        )
        made = machine.stand_ins["ak-certificate"] = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)
    return made
