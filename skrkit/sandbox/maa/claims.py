"""The claims of the two token kinds, by the real service's names and types. Source: Azure Attestation, claim sets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import rsa

from skrkit.encoding import b64url
from skrkit.sandbox.maa.boot import Boot
from skrkit.sandbox.maa.request import GuestRequest
from skrkit.sandbox.snpreport import ID_KEY_DIGEST
from skrkit.wire import Json

if TYPE_CHECKING:
    from skrkit.evidence.snp import SnpReport

COMPLIANT = "azure-compliant-cvm"
_SMT, _MIGRATE_MA, _DEBUG = 1 << 16, 1 << 18, 1 << 19  # bits of POLICY
_PARAVISOR_FAMILIES = frozenset({bytes.fromhex("01" + "00" * 15), bytes.fromhex("022120" + "00" * 13)})
_PARAVISOR_IMAGE = bytes.fromhex("02" + "00" * 15)
_MINIMUM_TCB = {0: 3, 6: 8, 7: 115}  # boot loader, SNP, microcode: the lowest seen in a compliant token (2022)


def _range(report: SnpReport, start: int, size: int) -> bytes:
    return report.raw[start : start + size]


def is_compliant(report: SnpReport, *, bound: bool) -> bool:
    """Return whether a verified report is of a healthy Azure confidential VM; `bound`: it vouches for runtime data.

    The real service's rule is not published; inferred is this one: no debugging, VMPL 0, a known paravisor, a TCB that
    is not below the floor.
    """
    tcb = _range(report, 0x180, 8)
    return (
        bound
        and not report.policy & _DEBUG
        and report.vmpl == 0
        and _range(report, 0x0E0, 48) == ID_KEY_DIGEST
        and _range(report, 0x010, 16) in _PARAVISOR_FAMILIES
        and _range(report, 0x020, 16) == _PARAVISOR_IMAGE
        and all(tcb[at] >= least for at, least in _MINIMUM_TCB.items())
    )


def snp_claims(report: SnpReport, *, bound: bool) -> dict[str, Json]:
    """Return the `sevsnpvm` claims of a verified report. SVNs are those of REPORTED_TCB, digests lower-case hex.

    `x-ms-compliance-status` is absent when the report is not compliant, as in the real service.
    """
    tcb = _range(report, 0x180, 8)
    claims: dict[str, Json] = {
        "x-ms-attestation-type": "sevsnpvm",
        "x-ms-sevsnpvm-authorkeydigest": _range(report, 0x110, 48).hex(),
        "x-ms-sevsnpvm-bootloader-svn": tcb[0],
        "x-ms-sevsnpvm-familyId": _range(report, 0x010, 16).hex(),
        "x-ms-sevsnpvm-guestsvn": report.guest_svn,
        "x-ms-sevsnpvm-hostdata": _range(report, 0x0C0, 32).hex(),
        "x-ms-sevsnpvm-idkeydigest": _range(report, 0x0E0, 48).hex(),
        "x-ms-sevsnpvm-imageId": _range(report, 0x020, 16).hex(),
        "x-ms-sevsnpvm-is-debuggable": bool(report.policy & _DEBUG),
        "x-ms-sevsnpvm-launchmeasurement": _range(report, 0x090, 48).hex(),
        "x-ms-sevsnpvm-microcode-svn": tcb[7],
        "x-ms-sevsnpvm-migration-allowed": bool(report.policy & _MIGRATE_MA),
        "x-ms-sevsnpvm-reportdata": _range(report, 0x050, 64).hex(),
        "x-ms-sevsnpvm-reportid": _range(report, 0x140, 32).hex(),
        "x-ms-sevsnpvm-smt-allowed": bool(report.policy & _SMT),
        "x-ms-sevsnpvm-snpfw-svn": tcb[6],
        "x-ms-sevsnpvm-tee-svn": tcb[1],
        "x-ms-sevsnpvm-vmpl": report.vmpl,
    }
    if is_compliant(report, bound=bound):
        claims["x-ms-compliance-status"] = COMPLIANT
    return claims


def _ephemeral_jwk(key: rsa.RSAPublicKey) -> dict[str, Json]:
    modulus = key.public_numbers().n
    return {
        "e": "AQAB",
        "key_ops": ["encrypt"],
        "kid": "TpmEphemeralEncryptionKey",
        "kty": "RSA",
        "n": b64url(modulus.to_bytes(256, "big")),
    }


def guest_claims(
    request: GuestRequest, report: SnpReport, *, runtime: dict[str, Json], vm_id: str, boot: Boot, key: rsa.RSAPublicKey
) -> dict[str, Json]:
    """Return the claims of an `azurevm` token: the boot, the OS as it says of itself, the TEE, the ephemeral key.

    `runtime` are the runtime claims that the hardware vouches for, `vm_id` their vmUniqueId.
    """
    return {
        "secureboot": boot.secure_boot,
        "x-ms-attestation-type": "azurevm",
        "x-ms-azurevm-attestation-protocol-ver": request.protocol,
        "x-ms-azurevm-attested-pcrs": list(request.tpm.pcr_set),
        "x-ms-azurevm-bootdebug-enabled": False,
        "x-ms-azurevm-dbvalidated": "db" in boot.known_good,
        "x-ms-azurevm-dbxvalidated": "dbx" in boot.known_good,
        "x-ms-azurevm-debuggersdisabled": True,
        "x-ms-azurevm-default-securebootkeysvalidated": {"PK", "KEK", "db"} <= boot.known_good,
        "x-ms-azurevm-elam-enabled": False,
        "x-ms-azurevm-flightsigning-enabled": False,
        "x-ms-azurevm-hvci-policy": 0,
        "x-ms-azurevm-hypervisordebug-enabled": False,
        "x-ms-azurevm-is-windows": False,
        "x-ms-azurevm-kerneldebug-enabled": False,
        "x-ms-azurevm-osbuild": request.os_build,
        "x-ms-azurevm-osdistro": request.os_distro,
        "x-ms-azurevm-ostype": request.os_type,
        "x-ms-azurevm-osversion-major": request.os_major,
        "x-ms-azurevm-osversion-minor": request.os_minor,
        "x-ms-azurevm-signingdisabled": True,
        "x-ms-azurevm-testsigning-enabled": False,
        "x-ms-azurevm-vmid": vm_id.upper(),
        "x-ms-isolation-tee": {**snp_claims(report, bound=True), "x-ms-runtime": runtime},
        "x-ms-runtime": {"client-payload": request.client_payload, "keys": [_ephemeral_jwk(key)]},
    }
