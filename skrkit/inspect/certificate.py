"""X.509 certificates, PEM or DER, shown field by field. Nothing is verified here."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import ClassVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from skrkit.endorsements.certificate import AmdCertificate, parse_amd_certificates
from skrkit.errors import ParseError
from skrkit.inspect.public_key import key_name
from skrkit.wire import Json, Span

_SOURCE = "RFC 5280"


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """One certificate. `described` is its fields, read at parse time, so that a broken extension is an error there."""

    kind: ClassVar[str] = "certificate"
    title: ClassVar[str] = "X.509 certificate"

    described: dict[str, Json] = field(repr=False)
    raw: bytes = field(repr=False)

    def fields(self) -> dict[str, Json]:
        """Return names, serial (hex), dates, key, identifiers, purposes and digests."""
        return dict(self.described)

    def spans(self) -> tuple[Span, ...]:
        """Return no spans: DER nests to a depth of its own."""
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateList:
    """Several certificates in their order; `linked` if each names the next as its issuer."""

    kind: ClassVar[str] = "certificates"
    title: ClassVar[str] = "X.509 certificates"

    certificates: tuple[Certificate, ...]
    linked: bool
    raw: bytes = field(repr=False)

    def fields(self) -> dict[str, Json]:
        """Return each certificate's fields under `certificates`, and whether each names the next as its issuer."""
        shown: list[Json] = [certificate.fields() for certificate in self.certificates]
        return {"count": len(self.certificates), "each_names_next_as_issuer": self.linked, "certificates": shown}

    def spans(self) -> tuple[Span, ...]:
        """Return no spans: PEM is text."""
        return ()


def meanings() -> dict[str, str]:
    """Return what the fields that need it mean, by field name."""
    return {
        "ski": "subject key identifier: what certificates below name as their authority key",
        "aki": "authority key identifier: the key above",
        "spki_sha256": "SHA-256 of the public key structure: what a root is pinned by",
        "der_sha256": "SHA-256 of the whole certificate: its thumbprint",
    }


def parse_certificate(data: bytes) -> Certificate:
    """Return the one X.509 v3 certificate in DER or PEM `data`. Raises `ParseError`: none, several, malformed.

    Source: RFC 5280; RFC 7468 for PEM.
    """
    certificates = parse_certificate_list(data).certificates
    if len(certificates) > 1:
        raise _refuse("one certificate", f"{len(certificates)}", fix="Use --as certificates.")
    return replace(certificates[0], raw=data)


def parse_certificate_list(data: bytes) -> CertificateList:
    """Return the certificates of `data`, 1 to 16, in order: PEM, or DER one after another. Raises `ParseError`."""
    try:
        found = parse_amd_certificates(data)
    except ParseError as error:
        # Its reader is AMD's, and so is its advice; what it says of the bytes holds for any certificate.
        raise _refuse(error.expected, error.found, where=error.where) from None
    return CertificateList(
        certificates=tuple(_described(item) for item in found),
        linked=all(one.issuer == two.subject for one, two in pairwise(found)),
        raw=data,
    )


def _described(item: AmdCertificate) -> Certificate:
    try:
        described = {**_identity(item), **_extensions(item.view)}
    except ValueError as cause:
        found = str(cause).partition("\n")[0][:120]
        raise _refuse("well-formed names and extensions", f"one that is not ({found})") from None
    digests: dict[str, Json] = {"der_sha256": hashlib.sha256(item.raw).hexdigest(), "spki_sha256": item.spki_sha256}
    return Certificate(described=described | digests, raw=item.raw)


def _identity(item: AmdCertificate) -> dict[str, Json]:
    certificate = item.view  # never its serial: see AmdCertificate
    return {
        "subject": certificate.subject.rfc4514_string(),
        "issuer": certificate.issuer.rfc4514_string(),
        "serial": f"{item.serial:x}",
        "not_before": item.not_before.isoformat(),
        "not_after": item.not_after.isoformat(),
        "key": key_name(certificate.public_key()),
        "sig_alg_oid": certificate.signature_algorithm_oid.dotted_string,
        "sig_hash": _hash_name(certificate),
    }


def _hash_name(certificate: x509.Certificate) -> str:
    try:
        algorithm = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return "not recognised"
    return "none" if algorithm is None else algorithm.name  # Ed25519 has none apart from its own


def _extensions(certificate: x509.Certificate) -> dict[str, Json]:
    """Return the extensions that say who may use the key and for what; every other one by its OID."""
    shown: dict[str, Json] = {}
    others: list[Json] = []
    for extension in certificate.extensions:
        value = extension.value
        if isinstance(value, x509.BasicConstraints):
            shown["ca"] = value.ca
        elif isinstance(value, x509.SubjectKeyIdentifier):
            shown["ski"] = value.digest.hex()
        elif isinstance(value, x509.AuthorityKeyIdentifier):
            shown["aki"] = value.key_identifier.hex() if value.key_identifier else "without a key identifier"
        elif isinstance(value, x509.ExtendedKeyUsage):
            shown["eku"] = [_purpose(oid) for oid in value]
        elif isinstance(value, x509.SubjectAlternativeName):
            shown["san"] = [_name(name) for name in value]
        else:
            others.append(extension.oid.dotted_string)
    if others:
        shown["other_extensions"] = others
    return shown


def _purpose(oid: x509.ObjectIdentifier) -> str:
    known = {
        "1.3.6.1.5.5.7.3.1": "serverAuth",
        "1.3.6.1.5.5.7.3.2": "clientAuth",
        "2.23.133.8.3": "tcg-kp-AIKCertificate",
    }
    return known.get(oid.dotted_string, oid.dotted_string)


def _name(name: x509.GeneralName) -> str:
    value = name.value
    if isinstance(value, x509.Name):
        return f"directory: {value.rfc4514_string()}"
    if isinstance(value, x509.ObjectIdentifier):
        return f"oid: {value.dotted_string}"
    return f"{type(name).__name__}: {value.hex() if isinstance(value, bytes) else value}"


def _refuse(
    expected: str, found: str, *, where: str = "the whole input", fix: str = "Pass the certificate as it was issued."
) -> ParseError:
    return ParseError(what="certificate", where=where, expected=expected, found=found, fix=fix, source=_SOURCE)
