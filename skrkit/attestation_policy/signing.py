"""Policies that somebody signs: for a provider that takes those of its policy signers alone.

Source: Azure Attestation, "How to author an attestation policy" and "Examples of policy signers"; RFC 7515, RFC 7518.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from skrkit.attestation_policy.form import MEMBER, UNSIGNED_HEADER
from skrkit.encoding import b64url
from skrkit.errors import ParseError, UsageError

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    from skrkit.wire import Json

MAX_PEM_BYTES = 1 << 16
MAX_CERTIFICATES = 10
UNSIGNED_RESET = f"{UNSIGNED_HEADER}.."
"""What asks a provider without policy signers for its default: a JWS with nothing in it."""

_MAKE = "openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out certificate.pem -subj /CN=me"
_ALGORITHMS = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySigner:
    """A signing key and its certificates, the key's own first, up to a root that is an authority."""

    certificates: tuple[x509.Certificate, ...]
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey = field(repr=False)

    def sign(self, payload: bytes) -> str:
        """Return a compact JWS with the certificates in its header: RS256, or ES256 to ES512 by the key's curve."""
        from cryptography.hazmat.primitives.asymmetric import rsa
        from jwt.api_jws import PyJWS

        algorithm = "RS256" if isinstance(self.key, rsa.RSAPrivateKey) else _ALGORITHMS[self.key.curve.name]
        x5c: list[Json] = [certificate_text(one) for one in self.certificates]
        return PyJWS().encode(payload, self.key, algorithm=algorithm, headers={"typ": None, "x5c": x5c})

    def signed_policy(self, text: str) -> str:
        """Return a policy as a provider in isolated mode takes it."""
        return self.sign(_compact({MEMBER: b64url(text.encode("utf-8"))}))

    def signed_reset(self) -> str:
        """Return what asks such a provider for its default policy: a JWS with an empty payload."""
        return self.sign(b"")

    def signed_change(self, certificate: x509.Certificate) -> str:
        """Return what names another policy signer, to be added or removed."""
        return self.sign(_compact({"policyCertificate": jwk_of(certificate)}))


def policy_signer(key: bytes, certificates: bytes) -> PolicySigner:
    """Return the signer of a private key (PEM, not encrypted) and its certificates (PEM, the key's own first).

    Raises `ParseError` for what is neither, and `UsageError` for a key of a kind that no provider takes, or one that
    the first certificate is not for, and for a root that is no authority. That EC keys are taken is inferred.
    """
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    private, chain = _private_key(key), parse_certificates(certificates)
    spki = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    if private.public_key().public_bytes(*spki) != chain[0].public_key().public_bytes(*spki):
        raise UsageError(
            what="policy signer",
            where="the signing key",
            expected=f"the key of the first certificate, {chain[0].subject.rfc4514_string() or 'without a name'}",
            found="another key",
            fix="Name the certificate that was made for this key; its issuers, if any, come after it.",
        )
    if not _is_authority(chain[-1]):
        raise UsageError(
            what="policy signer",
            where="the last certificate",
            expected="a root that is flagged as an authority (basicConstraints, CA true)",
            found=chain[-1].subject.rfc4514_string() or "a certificate without a name",
            fix=_MAKE,
            source="Azure Attestation, troubleshooting guide",
        )
    return PolicySigner(key=private, certificates=chain)


def _is_authority(certificate: x509.Certificate) -> bool:
    from cryptography import x509

    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, ValueError):
        return False


def parse_certificates(pem: bytes) -> tuple[x509.Certificate, ...]:
    """Return the certificates of a PEM file, one to ten. Nobody vouches for them. Raises `ParseError`."""
    from cryptography import x509

    try:
        found = x509.load_pem_x509_certificates(pem[: MAX_PEM_BYTES + 1])
    except ValueError:
        raise _no_pem("the certificate", "certificates in PEM", "none that can be read") from None
    if len(pem) > MAX_PEM_BYTES or len(found) > MAX_CERTIFICATES:
        raise _no_pem("the certificate", f"at most {MAX_CERTIFICATES} certificates", "more")
    return tuple(found)


def _private_key(pem: bytes) -> rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    expected = "a private key in PEM that is not encrypted: RSA of 2048 bits or more, or on P-256, P-384 or P-521"
    try:
        if len(pem) > MAX_PEM_BYTES:
            raise ValueError
        private = load_pem_private_key(pem, None)
    except TypeError:
        raise _no_pem("the signing key", expected, "an encrypted one") from None
    except (ValueError, UnsupportedAlgorithm):
        raise _no_pem("the signing key", expected, "no private key that can be read") from None
    if isinstance(private, rsa.RSAPrivateKey) and private.key_size >= 2048:
        return private
    if isinstance(private, ec.EllipticCurvePrivateKey) and private.curve.name in _ALGORITHMS:
        return private
    raise UsageError(
        what="policy signer",
        where="the signing key",
        expected=expected,
        found="a key of another kind",
        fix=_MAKE,
    )


def jwk_of(certificate: x509.Certificate) -> dict[str, Json]:
    """Return a certificate as the JSON Web Key that names a policy signer."""
    from cryptography.hazmat.primitives.asymmetric import rsa

    kind = "RSA" if isinstance(certificate.public_key(), rsa.RSAPublicKey) else "EC"
    return {"kty": kind, "x5c": [certificate_text(certificate)]}


def certificate_text(certificate: x509.Certificate) -> str:
    """Return a certificate as it stands in `x5c`: DER in standard base64."""
    from cryptography.hazmat.primitives.serialization import Encoding

    return base64.b64encode(certificate.public_bytes(Encoding.DER)).decode("ascii")


def _compact(value: Json) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode("ascii")


def _no_pem(where: str, expected: str, found: str) -> ParseError:
    return ParseError(
        what="policy signer", where=where, expected=expected, found=found, fix="Check that it is the right file."
    )
