"""Who signed a release response: the certificates in its header, from the leaf to a root that the caller trusts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, NoReturn

from skrkit.encoding import b64url
from skrkit.errors import VerificationError
from skrkit.wire import Json

if TYPE_CHECKING:
    from cryptography import x509

MIN_MODULUS_BITS = 2048
_SOURCE = "Key Vault release, response JWS header; RFC 5280 section 6"
_UNDERSTOOD = ("basicConstraints", "keyUsage", "extendedKeyUsage", "subjectAltName")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseStep:
    """One step of `verify_release`: "ok", or "not-checked" with the reason."""

    id: str
    verdict: Literal["ok", "not-checked"]
    detail: str


def _refuse(step: str, what: str, where: str, expected: str, found: str, fix: str) -> NoReturn:
    raise VerificationError(step=step, what=what, where=where, expected=expected, found=found, fix=fix, source=_SOURCE)


def _name(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string() or "a certificate without a subject"


def _place(index: int) -> str:
    return f"header /x5c/{index}"


def certificate_fields(der: bytes) -> Json:
    """Return subject, issuer, validity and SHA-256 of a DER certificate; the digest alone if it does not read."""
    from cryptography import x509

    members: dict[str, Json] = {"sha256": hashlib.sha256(der).hexdigest()}
    try:
        certificate = x509.load_der_x509_certificate(der)
        members |= {
            "subject": certificate.subject.rfc4514_string(),
            "issuer": certificate.issuer.rfc4514_string(),
            "not_before": certificate.not_valid_before_utc.isoformat(),
            "not_after": certificate.not_valid_after_utc.isoformat(),
        }
    except (ValueError, TypeError):
        members["not_recognised"] = f"{len(der)} bytes that are no certificate"
    return members


def load_chain(x5c: Sequence[bytes]) -> tuple[x509.Certificate, ...]:
    """Return the certificates of `x5c`, leaf first. Raises `VerificationError`, step `release.x5c`."""
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm

    chain = []
    for index, der in enumerate(x5c):
        try:
            certificate = x509.load_der_x509_certificate(der)
            # All that later steps read is read once here, so that none of them meets a malformed certificate.
            list(certificate.extensions)
            certificate.public_key()
            certificate.subject.rfc4514_string()
            certificate.issuer.rfc4514_string()
        except (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension) as cause:
            found = f"{len(der)} bytes that are none ({str(cause)[:100]})"
            fix = "Refuse the response, and take it again."
            _refuse("release.x5c", "certificate of the signer", _place(index), "a DER certificate", found, fix)
        chain.append(certificate)
    return tuple(chain)


def check_thumbprints(header: Mapping[str, Json], leaf: x509.Certificate) -> Iterable[ReleaseStep]:
    """Return the steps for x5t and x5t#S256, base64url digests of the leaf. Raises `VerificationError`."""
    from cryptography.hazmat.primitives.serialization import Encoding

    der = leaf.public_bytes(Encoding.DER)
    steps = []
    for name, step, digest in (
        ("x5t", "release.x5t", hashlib.sha1(der, usedforsecurity=False).digest()),
        ("x5t#S256", "release.x5t_s256", hashlib.sha256(der).digest()),
    ):
        if name not in header:
            steps.append(ReleaseStep(id=step, verdict="not-checked", detail=f"the header has no {name}"))
            continue
        if header[name] != b64url(digest):
            fix = "Refuse the response: its first certificate was exchanged."
            found = repr(header[name])[:80]
            _refuse(step, "thumbprint of the signer", f"header /{name}", repr(b64url(digest)), found, fix)
        steps.append(ReleaseStep(id=step, verdict="ok", detail=f"{name} is the leaf's"))
    return steps


def check_signature(leaf: x509.Certificate, signing_input: bytes, signature: bytes) -> ReleaseStep:
    """Return the step of the RS256 signature by the leaf's key. Raises `VerificationError`, `release.signature`."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.hashes import SHA256

    key = leaf.public_key()
    fix = "Refuse the response: it was changed, or another key signed it. Release the key again."
    if not isinstance(key, RSAPublicKey) or key.key_size < MIN_MODULUS_BITS:
        expected = f"an RSA key of {MIN_MODULUS_BITS} bits or more"
        found = f"RSA of {key.key_size} bits" if isinstance(key, RSAPublicKey) else type(key).__name__
        _refuse("release.signature", "key of the signer", _place(0), expected, found, fix)
    try:
        key.verify(signature, signing_input, PKCS1v15(), SHA256())
    except InvalidSignature:
        expected = f"RS256 over header and payload by {_name(leaf)}"
        found = "one that does not verify"
        _refuse("release.signature", "signature of the release response", "part 3", expected, found, fix)
    return ReleaseStep(id="release.signature", verdict="ok", detail=f"RS256 by {_name(leaf)}")


def check_chain(chain: Sequence[x509.Certificate]) -> Iterable[ReleaseStep]:
    """Return the steps of the issuers: each signs the one before it, and is allowed to. Raises `VerificationError`."""
    for index, certificate in enumerate(chain):
        _critical(certificate, index)
    for index, (certificate, issuer) in enumerate(pairwise(chain)):
        if not _issued_by(certificate, issuer):
            found = f"{_name(certificate)}, issued by {certificate.issuer.rfc4514_string()}"
            fix = "Refuse the response: its certificates are no chain."
            expected = f"a certificate issued and signed by {_place(index + 1)}, {_name(issuer)}"
            _refuse("release.chain", "certificate of the signer", _place(index), expected, found, fix)
        # RFC 5280 6.1.4: `index` certificates that are not self-issued stand between this issuer and the leaf
        check_ca(issuer, below=index, where=_place(index + 1))
    return (
        ReleaseStep(id="release.chain", verdict="ok", detail=" <- ".join(_name(item) for item in chain)),
        ReleaseStep(id="release.ca", verdict="ok", detail=f"{len(chain) - 1} issuers, all of them CAs"),
    )


def _issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _critical(certificate: x509.Certificate, index: int) -> None:
    for extension in certificate.extensions:
        if extension.critical and extension.oid._name not in _UNDERSTOOD:
            fix = "Refuse the response: a critical extension that is not understood may restrict the certificate."
            expected = "no critical extension but " + ", ".join(_UNDERSTOOD)
            what = f"extension {extension.oid.dotted_string}"
            _refuse("release.critical", what, _place(index), expected, "it, critical", fix)


def check_ca(issuer: x509.Certificate, *, below: int, where: str) -> None:
    """Return nothing if `issuer` is a CA that may have `below` CAs under it. Raises `VerificationError`."""
    from cryptography import x509

    found = ""
    try:
        constraints = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value
        if not constraints.ca:
            found = "basicConstraints with CA false"
        elif constraints.path_length is not None and constraints.path_length < below:
            found = f"path length {constraints.path_length}, with {below} CAs below"
    except x509.ExtensionNotFound:
        found = "no basicConstraints"
    if not found and not _may_sign(issuer):
        found = "keyUsage without keyCertSign"
    if found:
        fix = "Refuse the response: this certificate may issue none."
        _refuse("release.ca", f"issuer {_name(issuer)}", where, "a CA with keyCertSign", found, fix)


def _may_sign(issuer: x509.Certificate) -> bool:
    from cryptography import x509

    try:
        return issuer.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound:
        return True  # RFC 5280 4.2.1.3: without the extension no use is excluded


def check_validity(chain: Sequence[x509.Certificate], now: datetime) -> ReleaseStep:
    """Return the step of the dates: every certificate is valid at `now`. Raises `VerificationError`."""
    for index, certificate in enumerate(chain):
        _valid(certificate, now, _place(index))
    until = min(certificate.not_valid_after_utc for certificate in chain)
    return ReleaseStep(id="release.validity", verdict="ok", detail=f"all valid at {now.isoformat()}, until {until}")


def _valid(certificate: x509.Certificate, now: datetime, where: str) -> None:
    before, after = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not before <= now <= after:
        expected = f"a certificate valid at {now.isoformat()}"
        found = f"{_name(certificate)}, valid {before.isoformat()} to {after.isoformat()}"
        fix = "Release the key again. An old response is judged at the time it was made."
        _refuse("release.validity", "certificate of the signer", where, expected, found, fix)


def check_root(
    chain: Sequence[x509.Certificate], roots: Sequence[x509.Certificate], now: datetime
) -> tuple[x509.Certificate, ReleaseStep]:
    """Return the trusted root that the chain ends in, and the step. Raises `VerificationError`, `release.root`.

    The last certificate has the root's public key (a cross-signed root is the same key), or the root issued it.
    """
    last = chain[-1]
    for root in roots:
        if _spki(root) == _spki(last):
            return root, ReleaseStep(id="release.root", verdict="ok", detail=f"ends in {_name(root)}")
    for root in roots:
        if _issued_by(last, root):
            check_ca(root, below=len(chain) - 1, where="argument roots")
            _valid(root, now, "argument roots")
            return root, ReleaseStep(id="release.root", verdict="ok", detail=f"issued by {_name(root)}")
    expected = "a certificate of, or issued by, " + "; ".join(_name(root) for root in roots)[:300]
    found = f"{_name(last)}, issued by {last.issuer.rfc4514_string()}"
    fix = "Refuse the response, unless this root is one that you trust for vaults: then pass it."
    _refuse("release.root", "root of the signer", _place(len(chain) - 1), expected, found, fix)


def _spki(certificate: x509.Certificate) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def check_host(leaf: x509.Certificate, host: str) -> ReleaseStep:
    """Return the step of the host name: a DNS name of the leaf matches. Raises `VerificationError`, `release.host`."""
    from cryptography import x509

    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(
            x509.DNSName
        )
    except x509.ExtensionNotFound:
        names = []
    for name in names:
        if _matches(name.lower(), host.lower()):
            return ReleaseStep(id="release.host", verdict="ok", detail=f"{host} is {name}")
    found = ", ".join(names)[:200] or "no DNS name"
    fix = "Refuse the response: another vault, or another service, signed it."
    _refuse("release.host", "DNS names of the signer", _place(0), host, found, fix)


def _matches(name: str, host: str) -> bool:
    if name.startswith("*."):
        first, _, rest = host.partition(".")
        return bool(first) and rest == name[2:] and "." in rest and "*" not in rest
    return name == host
