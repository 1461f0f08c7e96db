"""AMD's X.509 certificates as received: PEM or DER in, the signed bytes and the fields out. No trust.

A VCEK has serial number 0, which RFC 5280 forbids. `cryptography` warns of it through Python's process-wide warning
filters and says that it will refuse. So it is never given those bytes here: it reads a copy whose serial is 1, and only
for the fields; signatures are checked over the bytes as received. Source: AMD 57230.
"""

from __future__ import annotations

import binascii
import hashlib
import threading
import warnings
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.utils import CryptographyDeprecationWarning

from skrkit.endorsements import der
from skrkit.errors import ParseError
from skrkit.wire import where

MAX_CERTIFICATES = 16  # a chain file holds three; each one may cost a signature check
MAX_CERTIFICATE_BYTES = 16384  # AMD's are 1300 to 1700
MAX_CHAIN_BYTES = 1 << 17
SOURCE = "RFC 5280 section 4.1; AMD 57230, VCEK certificate"

# RSASSA-PSS, SHA-384, MGF1 with SHA-384, salt 48. AMD's older certificates spell out the default trailerField.
_PSS_PARTS = "a00f300d06096086480165030402020500a11c301a06092a864886f70d010108300d06096086480165030402020500a203020130"
AMD_SIGNATURE_ALGORITHMS = frozenset(
    {
        bytes.fromhex("304106092a864886f70d01010a3034" + _PSS_PARTS),
        bytes.fromhex("304606092a864886f70d01010a3039" + _PSS_PARTS + "a303020101"),
    }
)
AMD_LOCATION = frozenset(
    {
        ("2.5.4.6", "US"),
        ("2.5.4.8", "CA"),
        ("2.5.4.7", "Santa Clara"),
        ("2.5.4.10", "Advanced Micro Devices"),
        ("2.5.4.11", "Engineering"),
    }
)
_COMMON_NAME = "2.5.4.3"
_NAME_OIDS = {bytes.fromhex(f"5504{last:02x}"): f"2.5.4.{last}" for last in (3, 6, 7, 8, 10, 11)}
_TEXT_TAGS = frozenset({0x0C, 0x13, 0x14, 0x16})  # UTF8String, PrintableString, T61String, IA5String
_PEM_BEGIN, _PEM_END = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"
_PSS = padding.PSS(mgf=padding.MGF1(hashes.SHA384()), salt_length=48)
_warning_lock = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class AmdCertificate:
    """A certificate as received. `raw` is the whole DER, `tbs` the signed part of it, `spki` the public key's DER.

    `issuer` and `subject` are names in DER: compare them as bytes. `key` is the public key. `view` has the fields, and
    serial 1 where the certificate has 0: never take the serial, the digest or the signed bytes from it.
    """

    raw: bytes
    tbs: bytes
    serial: int
    algorithm: bytes
    outer_algorithm: bytes
    issuer: bytes
    subject: bytes
    spki: bytes
    not_before: datetime
    not_after: datetime
    key: CertificatePublicKeyTypes
    view: x509.Certificate

    @property
    def subject_cn(self) -> str:
        """The subject's common name, or "" for a name without exactly one."""
        return common_name(self.subject)

    @property
    def issuer_cn(self) -> str:
        """The issuer's common name, or "" for a name without exactly one."""
        return common_name(self.issuer)

    @property
    def spki_sha256(self) -> str:
        """The SHA-256 of the public key as it stands (SubjectPublicKeyInfo), in hex: what roots are pinned by."""
        return hashlib.sha256(self.spki).hexdigest()

    @property
    def has_amd_algorithm(self) -> bool:
        """Whether it is signed as AMD signs: RSASSA-PSS with SHA-384, said alike inside and outside the signature."""
        return self.algorithm == self.outer_algorithm and self.algorithm in AMD_SIGNATURE_ALGORITHMS

    def is_valid_at(self, now: datetime) -> bool:
        """Return whether `now` (aware) is inside the certificate's life, both ends included."""
        return self.not_before <= now <= self.not_after

    def is_signed_by(self, issuer: AmdCertificate) -> bool:
        """Return whether the issuer's RSA key signed these bytes, as AMD signs. Names and dates are not looked at."""
        key = issuer.key
        if not isinstance(key, rsa.RSAPublicKey) or not self.has_amd_algorithm:
            return False
        try:
            key.verify(self.view.signature, self.tbs, _PSS, hashes.SHA384())
        except InvalidSignature:
            return False
        return True

    def ec_key(self) -> ec.EllipticCurvePublicKey | None:
        """Return the public key if it is of P-384, else None."""
        key = self.key
        if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP384R1):
            return key
        return None


@lru_cache(maxsize=64)
def name_attributes(name: bytes) -> tuple[tuple[str, str], ...]:
    """Return the attributes of a Name in DER as (OID, text), in order. Raises `DerError`.

    An attribute that AMD's names do not have is kept, its OID in hex. Kept in memory: a chain has few names.
    """
    at, end = der.element(name, 0, der.SEQUENCE)
    found = []
    while at < end:
        set_start, set_end = der.element(name, at, der.SET)
        pair_start, pair_end = der.element(name, set_start, der.SEQUENCE)
        oid_start, oid_end = der.element(name, pair_start, der.OID)
        if pair_end != set_end or oid_end >= pair_end or name[oid_end] not in _TEXT_TAGS:
            raise der.DerError("a name attribute that is not one text")
        start, stop = der.element(name, oid_end, name[oid_end])
        if stop != pair_end:
            raise der.DerError("trailing bytes in a name attribute")
        oid = name[oid_start:oid_end]
        found.append((_NAME_OIDS.get(oid, oid.hex()), name[start:stop].decode("utf-8", "strict")))
        at = set_end
    return tuple(found)


@lru_cache(maxsize=64)
def common_name(name: bytes) -> str:
    """Return the common name of a Name in DER, or "" without exactly one."""
    names = [text for oid, text in name_attributes(name) if oid == _COMMON_NAME]
    return names[0] if len(names) == 1 else ""


@lru_cache(maxsize=64)
def is_amd_name(name: bytes) -> bool:
    """Return whether a Name has AMD's location, each attribute exactly once, and one common name."""
    attributes = name_attributes(name)
    location = [pair for pair in attributes if pair[0] != _COMMON_NAME]
    return len(attributes) == len(AMD_LOCATION) + 1 and len(location) == 5 and frozenset(location) == AMD_LOCATION


def parse_amd_certificate(data: bytes, *, what: str = "certificate") -> AmdCertificate:
    """Return the one certificate in `data`, DER as received. Raises `ParseError`.

    The last 32 that were read are kept in memory, by their bytes: what was parsed is kept, never what was verified.
    Source: RFC 5280 section 4.1.
    """
    if len(data) > MAX_CERTIFICATE_BYTES:
        raise _refuse(data, what, f"at most {MAX_CERTIFICATE_BYTES} bytes", f"{len(data)} bytes")
    try:
        return _read(data)
    except (ValueError, x509.InvalidVersion, UnsupportedAlgorithm, x509.UnsupportedGeneralNameType) as cause:
        raise _refuse(data, what, "an X.509 v3 certificate in DER", str(cause).split("\n")[0]) from None
    except x509.DuplicateExtension as twice:
        raise _refuse(data, what, "each extension once", f"{twice.oid.dotted_string} twice") from None


@lru_cache(maxsize=32)
def _read(data: bytes) -> AmdCertificate:
    start, end = der.element(data, 0, der.SEQUENCE)
    if end != len(data):
        raise der.DerError(f"{end} bytes of certificate, {len(data) - end} trailing")
    tbs_start, tbs_end = der.element(data, start, der.SEQUENCE)
    _, at = der.element(data, tbs_start, der.VERSION)
    serial_start, serial_end = der.element(data, at, der.INTEGER)
    parts = []
    at = serial_end
    for _ in range(5):  # signature algorithm, issuer, validity, subject, public key
        _, end = der.element(data, at, der.SEQUENCE)
        parts.append(data[at:end])
        at = end
    algorithm, issuer, _, subject, spki = parts
    _, outer_end = der.element(data, tbs_end, der.SEQUENCE)
    readable = data
    if data[serial_start:serial_end][:1] >= b"\x80":  # which `cryptography` takes, with a warning
        raise der.DerError("a negative serial number")
    if data[serial_start:serial_end] == b"\0":
        readable = data[:serial_start] + b"\1" + data[serial_end:]
    view = x509.load_der_x509_certificate(readable)
    if view.version is not x509.Version.v3:
        raise der.DerError(f"version {view.version.name}")
    view.extensions  # noqa: B018 - read here and kept: what is not readable is refused at once
    name_attributes(issuer)
    name_attributes(subject)
    return AmdCertificate(
        raw=data,
        tbs=data[start:tbs_end],
        serial=int.from_bytes(data[serial_start:serial_end], "big", signed=True),
        algorithm=algorithm,
        outer_algorithm=data[tbs_end:outer_end],
        issuer=issuer,
        subject=subject,
        spki=spki,
        not_before=view.not_valid_before_utc,
        not_after=view.not_valid_after_utc,
        key=view.public_key(),
        view=view,
    )


def split_certificates(data: bytes, *, what: str = "certificates") -> tuple[bytes, ...]:
    """Return the DER of each certificate in `data`: PEM blocks in any order, or DER one after another.

    Other text around PEM blocks is skipped. Raises `ParseError`: none, more than 16, more than 128 KiB.
    """
    if len(data) > MAX_CHAIN_BYTES:
        raise _refuse(data, what, f"at most {MAX_CHAIN_BYTES} bytes", f"{len(data)} bytes")
    found = _split_pem(data, what) if b"-----BEGIN" in data else _split_der(data, what)
    if not 0 < len(found) <= MAX_CERTIFICATES:
        raise _refuse(data, what, f"1 to {MAX_CERTIFICATES} certificates", f"{len(found)}")
    return tuple(found)


def _split_pem(data: bytes, what: str) -> list[bytes]:
    found: list[bytes] = []
    start = data.find(_PEM_BEGIN)
    while start >= 0 and len(found) <= MAX_CERTIFICATES:
        end = data.find(_PEM_END, start)
        try:
            if end < 0:
                raise binascii.Error("no END CERTIFICATE line")
            text = b"".join(data[start + len(_PEM_BEGIN) : end].split())
            found.append(binascii.a2b_base64(text, strict_mode=True))
        except binascii.Error as cause:
            raise ParseError(
                what=what,
                where=where(start, (end if end >= 0 else len(data)) - start),
                expected="base64 between BEGIN CERTIFICATE and END CERTIFICATE",
                found=str(cause),
                fix="Copy the PEM text again, whole lines and nothing else.",
                source="RFC 7468",
            ) from None
        start = data.find(_PEM_BEGIN, end)
    return found


def _split_der(data: bytes, what: str) -> list[bytes]:
    found: list[bytes] = []
    at = 0
    try:
        while at < len(data) and len(found) <= MAX_CERTIFICATES:
            _, end = der.element(data, at, der.SEQUENCE)
            found.append(data[at:end])
            at = end
    except der.DerError as cause:
        raise _refuse(data, what, "PEM or DER certificates", str(cause)) from None
    return found


def parse_amd_certificates(data: bytes, *, what: str = "certificates") -> tuple[AmdCertificate, ...]:
    """Return every certificate in `data`, PEM or DER, in the order they stand. Raises `ParseError`."""
    return tuple(parse_amd_certificate(item, what=what) for item in split_certificates(data, what=what))


def parse_certificates(pem_or_der: bytes) -> tuple[x509.Certificate, ...]:
    """Return every certificate in the text or bytes as `cryptography` objects. Raises `ParseError`."""
    return tuple(exact_certificate(item.raw) for item in parse_amd_certificates(pem_or_der))


def exact_certificate(data: bytes) -> x509.Certificate:
    """Return the `cryptography` object of these very bytes, which `parse_amd_certificate` has already read.

    The warning about serial 0 is silenced for this call only, under a lock of our own. No verification comes here.
    """
    with _warning_lock, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Parsed a serial number", CryptographyDeprecationWarning)
        return x509.load_der_x509_certificate(data)


def _refuse(data: bytes, what: str, expected: str, found: str) -> ParseError:
    return ParseError(
        what=what,
        where=where(0, len(data)),
        expected=expected,
        found=found,
        fix="Pass the certificate as AMD's key service or Azure's THIM endpoint gave it.",
        source=SOURCE,
    )
