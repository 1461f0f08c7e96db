"""The AK certificate of a vTPM and the two authorities above it, in the form of Azure's own.

After a real one (Global Virtual TPM CA - 03, 2026). The certificate stands alone in the NV index, with no chain and no
address of its issuer, so a verifier must hold the authorities; the sandbox's MAA does.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

from skrkit.sandbox import keygen
from skrkit.sandbox.certificateparts import key_usage, name_of
from skrkit.sandbox.silicon import certificate_from, certificate_text, private_pem, rsa_key
from skrkit.sandbox.store import Store

NV_SIZE = 4096  # as the platform defines 0x01C101D0: the DER is followed by zeros
ROOT_NAME = "Azure Virtual TPM Root Certificate Authority 2023 (sandbox)"
ISSUER_NAME = "Global Virtual TPM CA - 01"
AIK_USAGE = x509.ObjectIdentifier("2.23.133.8.3")  # TCG: tcg-kp-AIKCertificate
ATTESTATION_USAGE = x509.ObjectIdentifier("1.3.6.1.4.1.311.10.3.12")  # stands beside it in Azure's own
AZURE_POLICY = x509.ObjectIdentifier("1.3.6.1.4.1.311.108")
LIFETIME = timedelta(days=365)  # the guest library renews below 90 days; Azure's own last about nine months
RENEWAL = timedelta(days=90)
_SKEW = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorities:
    """The vTPM root and the authority that issues AK certificates, with the latter's key."""

    root: x509.Certificate
    issuer: x509.Certificate
    issuer_key: rsa.RSAPrivateKey = field(repr=False)


def due_for_renewal(nv: bytes, now: datetime) -> bool:
    """Return whether the certificate in the NV index (DER, then zeros) ends soon or has not begun; False for none."""
    size = 4 + int.from_bytes(nv[2:4], "big")  # SEQUENCE, length in two bytes
    try:
        held = x509.load_der_x509_certificate(nv[:size])
    except ValueError:
        return False
    return held.not_valid_after_utc - now < RENEWAL or held.not_valid_before_utc > now  # the clock may have gone back


def _authority(
    subject: str, key: rsa.RSAPublicKey, issuer: str, issuer_key: rsa.RSAPrivateKey, path_length: int, now: datetime
) -> x509.Certificate:
    return (
        x509.CertificateBuilder()
        .subject_name(name_of(subject))
        .issuer_name(name_of(issuer))
        .public_key(key)
        .serial_number(keygen.serial_number("vtpm-ca/serial"))
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + timedelta(days=3650))
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(key_usage(certificates=True, crls=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )


class VtpmAuthority:
    """The sandbox's Azure vTPM CA: made on first use, kept in the store. Safe from several threads."""

    def __init__(self, store: Store, now: Callable[[], datetime]) -> None:
        self._store = store
        self._now = now
        self._lock = threading.Lock()
        self._made: Authorities | None = None

    def authorities(self) -> Authorities:
        """Return the root and the issuing authority."""
        with self._lock:
            if self._made is None:
                document = self._store.get("silicon", "vtpm-ca")
                if document is None:
                    document = self._make()
                    self._store.put("silicon", "vtpm-ca", document)
                self._made = Authorities(
                    root=certificate_from(document["root"]),
                    issuer=certificate_from(document["issuer"]),
                    issuer_key=rsa_key(document["issuer_key"]),
                )
            return self._made

    def _make(self) -> dict[str, str]:
        """Return the document. The root's key signs once and is then thrown away: nothing else will need it."""
        root_key, issuer_key = (keygen.rsa_key(f"vtpm-ca/{which}", 2048) for which in ("root", "issuer"))
        now = self._now()
        root = _authority(ROOT_NAME, root_key.public_key(), ROOT_NAME, root_key, 1, now)
        issuer = _authority(ISSUER_NAME, issuer_key.public_key(), ROOT_NAME, root_key, 0, now)
        return {
            "root": certificate_text(root),
            "issuer": certificate_text(issuer),
            "issuer_key": private_pem(issuer_key),
        }

    def issue(self, ak: rsa.RSAPublicKey, *, vm_id: str) -> bytes:
        """Return the AK certificate as DER: CN `<last part of the VM id>.ConfidentialVM.Azure.Microsoft`, one year."""
        made = self.authorities()
        now = self._now()
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name_of(f"{vm_id.rsplit('-', 1)[-1].lower()}.ConfidentialVM.Azure.Microsoft"))
            .issuer_name(made.issuer.subject)
            .public_key(ak)
            .serial_number(keygen.serial_number("ak/serial"))
            .not_valid_before(now - _SKEW)
            .not_valid_after(now + LIFETIME)
            .add_extension(key_usage(signs=True), critical=True)
            .add_extension(x509.CertificatePolicies([x509.PolicyInformation(AZURE_POLICY, None)]), critical=False)
            .add_extension(x509.ExtendedKeyUsage([ATTESTATION_USAGE, AIK_USAGE]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(ak), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(made.issuer_key.public_key()), False)
            .sign(made.issuer_key, hashes.SHA256())
        )
        return certificate.public_bytes(Encoding.DER)
