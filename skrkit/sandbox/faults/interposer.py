"""What stands between a guest and its vTPM while a fault of the vTPM is on: another object, or another answer.

Every command is still answered by the vTPM itself, which authorises, signs and refuses as ever.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from skrkit.sandbox import keygen
from skrkit.sandbox.vtpm.codes import ST_NO_SESSIONS, ST_SESSIONS, Cc, Rc
from skrkit.sandbox.vtpm.vtpm import AK_HANDLE

if TYPE_CHECKING:
    from skrkit.sandbox.machine import Machine

NV_HCL_REPORT, NV_AK_CERTIFICATE = 0x01400001, 0x01C101D0
EARLIER_NONCE = bytes.fromhex("5ca1ab1e" * 8)
"""The nonce of somebody else, to whom the replayed quote once answered."""
PLACEHOLDER_ISSUER = "Microsoft Azure Trusted VM RSA CA"
"""Azure's guest library takes an AK certificate of such an issuer for one that is not provisioned yet."""


def answer(machine: Machine, command: bytes) -> bytes:
    """Return what the guest gets for a command: the vTPM's answer, unless a fault has another."""
    if machine.faulty("machine.tpm-locked") and command[:2] == ST_SESSIONS.to_bytes(2, "big"):
        return _refusal(Rc.LOCKOUT)
    for name, way in _EVERY_COMMAND.items():
        if machine.faulty(name):
            return way(machine, command)
    name, way = _OF_ONE_COMMAND.get(int.from_bytes(command[6:10], "big"), ("", _as_it_is))
    return way(machine, command) if machine.faulty(name) else machine.vtpm.transceive(command)


def _as_it_is(machine: Machine, command: bytes) -> bytes:
    return machine.vtpm.transceive(command)


def _refusal(code: int) -> bytes:
    return ST_NO_SESSIONS.to_bytes(2, "big") + (10).to_bytes(4, "big") + code.to_bytes(4, "big")


def _without_report(machine: Machine, command: bytes) -> bytes:
    with machine.vtpm.standing_in(nv={NV_HCL_REPORT: None}):
        return machine.vtpm.transceive(command)


def _with_other_key(machine: Machine, command: bytes) -> bytes:
    with machine.vtpm.standing_in(keys={AK_HANDLE: machine.vtpm.other_attestation_key()}):
        return machine.vtpm.transceive(command)


def _with_placeholder(machine: Machine, command: bytes) -> bytes:
    if machine.vtpm.nv_data(NV_AK_CERTIFICATE) is None:
        return machine.vtpm.transceive(command)  # the guest has taken the index away
    placeholder = machine.vtpm.nv_holding(NV_AK_CERTIFICATE, _placeholder(machine))
    with machine.vtpm.standing_in(nv={NV_AK_CERTIFICATE: placeholder}):
        return machine.vtpm.transceive(command)


def _placeholder(machine: Machine) -> bytes:
    """Return a certificate of the AK by an authority that nobody trusts: what is there before Azure provisions one."""
    made: bytes | None = machine.stand_ins.get("ak-certificate")
    if made is None:
        key = keygen.rsa_key("fault/placeholder", 2048)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, PLACEHOLDER_ISSUER)])
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


def _replayed_quote(machine: Machine, command: bytes) -> bytes:
    """Return a quote over the same PCRs that was made for another nonce than the guest's."""
    with machine.vtpm.standing_in(nonce=EARLIER_NONCE):
        return machine.vtpm.transceive(command)


def _other_object(machine: Machine, command: bytes) -> bytes:
    """Return the AK's word for itself, where the guest asked for its word for the transfer key."""
    with machine.vtpm.standing_in(certified=AK_HANDLE):
        return machine.vtpm.transceive(command)


def _other_pcr(machine: Machine, command: bytes) -> bytes:
    """Return PCR values with one bit of the last flipped, as if the PCR had moved since the quote."""
    response = machine.vtpm.transceive(command)
    refused = response[6:10] != bytes(4)
    return response if refused else response[:-1] + bytes([response[-1] ^ 1])


_EVERY_COMMAND: Mapping[str, Callable[[Machine, bytes], bytes]] = {
    "machine.no-nv-index": _without_report,
    "evidence.ak-not-in-report": _with_other_key,
    "evidence.ak-certificate": _with_placeholder,
}
_OF_ONE_COMMAND: Mapping[int, tuple[str, Callable[[Machine, bytes], bytes]]] = {
    Cc.Quote: ("evidence.quote-nonce", _replayed_quote),
    Cc.Certify: ("evidence.key-outside-vtpm", _other_object),
    Cc.PCR_Read: ("evidence.quote-pcrs", _other_pcr),
}
