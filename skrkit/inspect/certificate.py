"""X.509 certificates, PEM or DER, shown field by field. Nothing is verified here."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from skrkit.errors import ParseError
from skrkit.wire import Json, Span

if TYPE_CHECKING:
    from cryptography import x509

MAX_CERTIFICATES = 16  # a token's header has three, an AMD chain three
_PEM = b"-----BEGIN CERTIFICATE-----"
_SOURCE = "RFC 5280"


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """One certificate. `described` is its fields, read at parse time, so that a broken extension is an error there."""

    kind: ClassVar[str] = "certificate"
    title: ClassVar[str] = "X.509 certificate"

    certificate: x509.Certificate
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
    """Several certificates of one PEM text, in its order."""

    kind: ClassVar[str] = "certificates"
    title: ClassVar[str] = "X.509 certificates"

    certificates: tuple[Certificate, ...]
    raw: bytes = field(repr=False)

    def fields(self) -> dict[str, Json]:
        """Return each certificate's fields under `certificates`, and whether each names the next as its issuer."""
        pairs = zip(self.certificates, self.certificates[1:], strict=False)
        linked = all(one.certificate.issuer == two.certificate.subject for one, two in pairs)
        shown: list[Json] = [certificate.fields() for certificate in self.certificates]
        return {"count": len(self.certificates), "each_names_next_as_issuer": linked, "certificates": shown}

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
    """Return the one certificate in DER or PEM `data`. Raises `ParseError`: none, several, malformed.

    Source: RFC 5280; RFC 7468 for PEM.
    """
    from cryptography import x509

    if _PEM in data:
        certificates = parse_certificate_list(data).certificates
        if len(certificates) > 1:
            raise _refuse("one certificate", f"{len(certificates)}", fix="Use --as certificates.")
        return certificates[0]
    try:
        return _described(x509.load_der_x509_certificate(data), data)
    except ValueError as cause:
        raise _refuse("X.509 in DER or PEM", f"{len(data)} bytes that are not ({_short(cause)})") from None


def parse_certificate_list(data: bytes) -> CertificateList:
    """Return the certificates of PEM `data`, 1 to 16, in order. Raises `ParseError`: none, too many, malformed."""
    from cryptography import x509

    count = data.count(_PEM)
    if not 1 <= count <= MAX_CERTIFICATES:
        raise _refuse(f"1 to {MAX_CERTIFICATES} certificates in PEM", f"{count} BEGIN CERTIFICATE lines")
    try:
        loaded = x509.load_pem_x509_certificates(data)
    except ValueError as cause:
        raise _refuse("X.509 in PEM", f"a block that is not ({_short(cause)})") from None
    if len(loaded) != count:
        raise _refuse(f"{count} certificates, one for each BEGIN line", f"{len(loaded)} that are whole")
    certificates = tuple(_described(certificate, data if count == 1 else _der(certificate)) for certificate in loaded)
    return CertificateList(certificates=certificates, raw=data)


def _described(certificate: x509.Certificate, raw: bytes) -> Certificate:
    from cryptography import x509

    try:
        described = {**_identity(certificate), **_extensions(certificate), **_digests(certificate)}
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as cause:
        raise _refuse("well-formed names, dates and extensions", f"one that is not ({_short(cause)})") from None
    return Certificate(certificate=certificate, described=described, raw=raw)


def _identity(certificate: x509.Certificate) -> dict[str, Json]:
    return {
        "subject": certificate.subject.rfc4514_string(),
        "issuer": certificate.issuer.rfc4514_string(),
        "serial": f"{certificate.serial_number:x}",
        "not_before": certificate.not_valid_before_utc.isoformat(),
        "not_after": certificate.not_valid_after_utc.isoformat(),
        "key": _key(certificate),
        "sig_alg_oid": certificate.signature_algorithm_oid.dotted_string,
        "sig_hash": _hash_name(certificate),
    }


def _hash_name(certificate: x509.Certificate) -> str:
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        algorithm = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return "not recognised"
    return "none" if algorithm is None else algorithm.name  # Ed25519 has none apart from its own


def _key(certificate: x509.Certificate) -> str:
    from cryptography.exceptions import UnsupportedAlgorithm

    from skrkit.inspect.public_key import key_name

    try:
        return key_name(certificate.public_key())
    except (UnsupportedAlgorithm, ValueError):
        return f"not recognised ({certificate.public_key_algorithm_oid.dotted_string})"


def _extensions(certificate: x509.Certificate) -> dict[str, Json]:
    """Return the extensions that say who may use the key and for what; every other one by its OID."""
    from cryptography import x509

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
    from cryptography import x509

    value = name.value
    if isinstance(value, x509.Name):
        return f"directory: {value.rfc4514_string()}"
    if isinstance(value, x509.ObjectIdentifier):
        return f"oid: {value.dotted_string}"
    return f"{type(name).__name__}: {value.hex() if isinstance(value, bytes) else value}"


def _digests(certificate: x509.Certificate) -> dict[str, Json]:
    return {"der_sha256": hashlib.sha256(_der(certificate)).hexdigest(), "spki_sha256": _spki_digest(certificate)}


def _spki_digest(certificate: x509.Certificate) -> str:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    try:
        spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (UnsupportedAlgorithm, ValueError):
        return "not computed: the key is not recognised"
    return hashlib.sha256(spki).hexdigest()


def _der(certificate: x509.Certificate) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.DER)


def _short(cause: Exception) -> str:
    return str(cause).partition("\n")[0][:120] or type(cause).__name__


def _refuse(expected: str, found: str, *, fix: str = "Pass the certificate as it was issued.") -> ParseError:
    return ParseError(
        what="certificate", where="the whole input", expected=expected, found=found, fix=fix, source=_SOURCE
    )
