"""What the release flow needs of the world: three ports, each of at most three methods. No I/O here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from skrkit.release.request import ReleaseRequest
from skrkit.token.decode import UnverifiedToken
from skrkit.token.envelope import SealedEnvelope
from skrkit.token.jwks import Jwks
from skrkit.wire import Json

RsaScheme = Literal["rsaes", "oaep-sha1", "oaep-sha256", "oaep-sha384"]
"""How the vTPM undoes an RSA encryption: RSAES for MAA's envelope, OAEP with the hash of `enc` for a release."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectedEvidence:
    """Everything that a confidential VM tells of itself, as raw bytes, in the order it was read.

    `hcl_report`: NV 0x01400001 with its padding. `ak_certificate`: NV 0x01C101D0 with its padding. `ak_public` and
    `key_public`: TPM2B_PUBLIC. `quote`, `key_certify`: TPMS_ATTEST; the signatures are 256 raw RSASSA bytes.
    `certificates` is THIM's answer: vcekCert, certificateChain, tcbm.
    """

    hcl_report: bytes
    certificates: Mapping[str, str]
    ak_certificate: bytes
    ak_public: bytes
    pcrs: Mapping[int, bytes]
    quote: bytes
    quote_signature: bytes
    event_log: bytes
    key_public: bytes
    key_certify: bytes
    key_certify_signature: bytes
    os_name: str = "Linux"
    os_distro: str = ""
    os_version: tuple[int, int] = (1, 0)


class EvidenceSource(Protocol):
    """The attester: a confidential VM, seen from inside."""

    def collect(self, *, user_data: bytes) -> CollectedEvidence:
        """Return fresh evidence over `user_data`, 64 bytes at most, which ends up in the HCL report."""
        ...

    def decrypt(self, ciphertext: bytes, scheme: RsaScheme) -> bytes:
        """Return what the ephemeral key, which never leaves the vTPM, decrypts under its PCR policy."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """MAA's answer: the request as sent, the envelope if the token came sealed, and the token if it came open."""

    request: Json
    envelope: SealedEnvelope | None = None
    token: UnverifiedToken | None = field(default=None, repr=False)


class TokenIssuer(Protocol):
    """The verifier: Azure Attestation, at one provider's address."""

    @property
    def issuer(self) -> str:
        """The provider's base URL without a trailing slash: the only authority whose keys are used."""
        ...

    def attest(self, evidence: CollectedEvidence, *, nonce: str) -> Issued:
        """Return what the provider says of the evidence. Raises `ServiceError` when it refuses."""
        ...

    def signing_keys(self, *, fresh: bool = False) -> Jwks:
        """Return the keys published by the configured provider; `fresh` ones are asked for, others may be known."""
        ...


class KeyVault(Protocol):
    """The relying party: Key Vault or Managed HSM."""

    def release(self, key: str, version: str, request: ReleaseRequest) -> bytes:
        """Return the body of the answer to `POST /keys/{key}/{version}/release`. Raises `ReleaseRefused`."""
        ...

    def public_key(self, key: str, version: str) -> Mapping[str, Json] | None:
        """Return the key's JWK as the vault shows it to who may read it; None where this identity may not."""
        ...
