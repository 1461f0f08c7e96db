"""What comes to a provider to change its policy: a JWS, signed or not, in compact form. Opened and verified here.

Codes and the texts of broken tokens are those of Azure's troubleshooting guide, without the paths of its sources.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from skrkit.sandbox.web import AzureError
from skrkit.wire import Json

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
OWN_ALGORITHMS = {"RSA256": "RS256", "ECDH256": "ES256"}
"""Names that Microsoft's Python client gives to RS256, and to ECDSA with a signature in DER, which no RFC has."""
MAX_CERTIFICATES = 10
_PUBLIC = ("kty", "kid", "alg", "use", "n", "e", "crv", "x", "y")
_B64URL = re.compile(r"[A-Za-z0-9_-]*\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A JWS whose signature holds, or that has none. `signer` is its key as JWK; `certificate` is the first of
    `x5c`, which stands in the header or in its `jwk`."""

    text: str
    payload: bytes
    signer: dict[str, Json] | None = None
    certificate: x509.Certificate | None = None


def open_jws(text: str) -> Opened:
    """Return the parts of an uploaded JWS. Raises `AzureError` 400: InvalidOperation or InvalidParameter."""
    parts = text.split(".")
    if len(parts) < 2:
        raise bad_token("Malformed JWT: Could not find first period in the token.")
    if len(parts) != 3:
        raise bad_token("Malformed JWT: Could not find second period in the token.")
    header = _header(_decoded(parts[0]))
    payload = _decoded(parts[1])
    _decoded(parts[2])
    if header.get("alg") == "none":
        if parts[2]:
            raise bad_token("Malformed JWT: a token with alg none has a signature.")
        return Opened(text=text, payload=payload)
    return _signed(text, payload, header)


def bad_token(message: str) -> AzureError:
    """Return the 400 of a token that cannot be read, or does not hold what it must."""
    return AzureError(400, "InvalidOperation", f"Native operation failed with 74: Bad message Msg:[{message}]")


def bad_chain(message: str) -> AzureError:
    """Return the 400 of a signature or a chain of certificates that does not hold."""
    return AzureError(400, "InvalidParameter", f"Native operation failed with 65529: {message}")


def _decoded(part: str) -> bytes:
    bad = next((character for character in part if not _B64URL.match(character)), None)
    if bad is not None:
        shown = bad if bad.isascii() and bad.isprintable() else "?"
        raise bad_token(f"Unknown base64 character: {ord(bad)} ('{shown}')")
    try:
        return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except binascii.Error:
        raise bad_token("Malformed JWT: a part is not base64url.") from None


def _header(data: bytes) -> dict[str, Any]:
    try:
        header = json.loads(data)
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict) or not isinstance(header.get("alg"), str):
        raise bad_token("Malformed JWT: the header is no JSON object with alg.")
    return header


def _signed(text: str, payload: bytes, header: dict[str, Any]) -> Opened:
    if header["alg"] not in (*ALGORITHMS, *OWN_ALGORITHMS) or "crit" in header:
        raise bad_chain("The requested item is not found Msg:[the token's algorithm is not one that is taken]")
    jwk = header.get("jwk")
    certificates = _certificates(header.get("x5c") or (jwk.get("x5c") if isinstance(jwk, dict) else None))
    key: Any = certificates[0].public_key() if certificates else _jwk(jwk)
    if not _verifies(text, key, header["alg"]):
        raise bad_chain("The requested item is not found Msg:[the token's signature does not hold]")
    if certificates:
        _check_chain(certificates)
        return Opened(text=text, payload=payload, signer=jwk_of(certificates), certificate=certificates[0])
    shown = {name: value for name, value in (jwk or {}).items() if name in _PUBLIC}
    return Opened(text=text, payload=payload, signer=shown)


def _verifies(text: str, key: Any, algorithm: str) -> bool:
    covered, _, signature = text.rpartition(".")
    try:
        if algorithm == "ECDH256":
            key.verify(_decoded(signature), covered.encode("ascii"), ec.ECDSA(hashes.SHA256()))
            return True
        method = jwt.get_algorithm_by_name(OWN_ALGORITHMS.get(algorithm, algorithm))
        return method.verify(covered.encode("ascii"), method.prepare_key(key), _decoded(signature))
    except (jwt.PyJWTError, InvalidSignature, TypeError, ValueError):
        return False


def _jwk(value: Any) -> Any:
    """Return the public key of a JWK, also of one that has the private half by mistake."""
    if not isinstance(value, dict):
        raise bad_token("Could not find x5c or jwk in the header of the token")
    public = {name: member for name, member in value.items() if name in _PUBLIC and name != "alg"}
    try:
        if public.get("kty") not in ("RSA", "EC"):
            raise TypeError
        return jwt.PyJWK.from_dict(public, algorithm="RS256" if public["kty"] == "RSA" else None).key
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        raise bad_token("The jwk in the header of the token is no key") from None


def _certificates(value: Any) -> list[x509.Certificate]:
    if value is None:
        return []
    if not isinstance(value, list) or not 0 < len(value) <= MAX_CERTIFICATES:
        raise bad_token("The x5c in the header of the token is no list of certificates")
    return [certificate_of(entry) for entry in value]


def certificate_of(entry: Any) -> x509.Certificate:
    """Return the certificate of an entry of `x5c`: DER in standard base64. Raises `AzureError` 400."""
    try:
        return x509.load_der_x509_certificate(base64.b64decode(entry, validate=True))
    except (ValueError, TypeError):
        raise bad_token("The x5c holds what is no certificate in base64") from None


def _check_chain(certificates: list[x509.Certificate]) -> None:
    """Refuse a chain that does not lead to a root which is flagged as an authority, as the service's guide asks."""
    issuers = [*certificates[1:], certificates[-1]]
    for certificate, issuer in zip(certificates, issuers, strict=True):
        try:
            certificate.verify_directly_issued_by(issuer)
        except (ValueError, TypeError, InvalidSignature):
            raise _no_issuer(certificate) from None
        if not _is_authority(issuer):
            raise _no_issuer(certificate)


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, ValueError):
        return False


def _no_issuer(certificate: x509.Certificate) -> AzureError:
    subject = certificate.subject.rfc4514_string()
    return bad_chain(f"The requested item is not found Msg:[Unable to find issuer certificate {subject}]")


def jwk_of(certificates: list[x509.Certificate]) -> dict[str, Json]:
    """Return certificates as the JWK that the service shows, whatever came with them.

    An RSA key is shown with RS256, as recordings of the Azure CLI have it; what of an EC key, nobody knows (inferred).
    """
    spki = certificates[0].public_key()
    known: dict[str, Json] = {"alg": "RS256", "kty": "RSA"} if isinstance(spki, rsa.RSAPublicKey) else {"kty": "EC"}
    entries: list[Json] = [base64.b64encode(one.public_bytes(Encoding.DER)).decode("ascii") for one in certificates]
    return {**known, "use": "sig", "x5c": entries}


def spki_of(certificate: x509.Certificate) -> bytes:
    """Return the public key of a certificate as DER, to compare."""
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
