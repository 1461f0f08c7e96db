"""VCEK and VLEK certificates: the key that signs SNP reports, and AMD's extensions that say whose it is. No trust."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from types import MappingProxyType
from typing import ClassVar, Literal

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from skrkit.endorsements import der
from skrkit.endorsements.certificate import (
    AmdCertificate,
    exact_certificate,
    parse_amd_certificate,
    parse_amd_certificates,
    parse_certificates,
    split_certificates,
)
from skrkit.errors import ParseError
from skrkit.evidence.tcb import Product
from skrkit.wire import Json, Span, where

__all__ = ["VekCertificate", "parse_certificates", "parse_vek", "vek_of"]

AMD_ARC = "1.3.6.1.4.1.3704.1."
SOURCE = "AMD 57230, VCEK certificate"
_STRUCT_VERSION, _PRODUCT_NAME, _HW_ID, _CSP_ID = "1", "2", "4", "5"
_LEVELS = {
    "3.1": "blSPL",
    "3.2": "teeSPL",
    "3.3": "snpSPL",
    "3.4": "spl_4",
    "3.5": "spl_5",
    "3.6": "spl_6",
    "3.7": "spl_7",
    "3.8": "ucodeSPL",
    "3.9": "fmcSPL",
}
_REQUIRED = ("3.1", "3.2", "3.3", "3.8")
_SIGNERS: dict[str, Literal["VCEK", "VLEK"]] = {"SEV-VCEK": "VCEK", "SEV-VLEK": "VLEK"}
_HW_ID_BYTES = (64, 8)  # Turin's is 8
SPL_OF_COMPONENT = MappingProxyType(
    {"fmc": "fmcSPL", "bootloader": "blSPL", "tee": "teeSPL", "snp": "snpSPL", "microcode": "ucodeSPL"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class VekCertificate:
    """A parsed VCEK or VLEK. `spl` maps AMD's extension names (blSPL, teeSPL, snpSPL, ucodeSPL, ...) to levels 0-255.

    `hw_id` is 64 bytes, 8 on Turin, None on a VLEK; `csp_id` is the cloud's name on a VLEK, None on a VCEK.
    """

    kind: ClassVar[str] = "vek-certificate"
    title: ClassVar[str] = "AMD VCEK or VLEK certificate"

    raw: bytes
    amd: AmdCertificate
    signer: Literal["VCEK", "VLEK"]
    struct_version: int
    product_name: str
    spl: Mapping[str, int]
    hw_id: bytes | None
    csp_id: str | None

    @property
    def certificate(self) -> x509.Certificate:
        """The certificate as a `cryptography` object, of the bytes as received."""
        return exact_certificate(self.amd.raw)

    @property
    def product(self) -> Product | None:
        """The product line: `product_name` up to its first hyphen (the stepping after it is wrong on some parts)."""
        line = self.product_name.partition("-")[0]
        return next((product for product in Product if product.value == line), None)

    def extensions(self) -> dict[str, Json]:
        """Return AMD's extensions by name, in the order of AMD's numbers."""
        members: dict[str, Json] = {"structVersion": self.struct_version, "productName": self.product_name}
        members |= self.spl
        if self.hw_id is not None:
            members["hwID"] = self.hw_id.hex()
        if self.csp_id is not None:
            members["cspID"] = self.csp_id
        return members

    def fields(self) -> dict[str, Json]:
        """Return names, dates, key, digests and AMD's extensions."""
        amd = self.amd
        return {
            "signer": self.signer,
            "subject_cn": amd.subject_cn,
            "issuer_cn": amd.issuer_cn,
            "serial": f"{amd.serial:x}",
            "not_before": amd.not_before.isoformat(),
            "not_after": amd.not_after.isoformat(),
            "key": _key_words(amd),
            "sig_alg_oid": amd.view.signature_algorithm_oid.dotted_string,
            "sig_hash": "sha384" if amd.has_amd_algorithm else "not as AMD signs",
            "der_sha256": _sha256(amd.raw),
            "spki_sha256": amd.spki_sha256,
            "extensions": self.extensions(),
        }

    def spans(self) -> tuple[Span, ...]:
        """Return a span for the signed part, each of AMD's extensions and the signature, if `raw` is DER."""
        return _spans(self) if self.raw == self.amd.raw else ()


def parse_vek(der_or_pem: bytes) -> VekCertificate:
    """Return the VCEK or VLEK in `der_or_pem`: one certificate, or a chain that holds exactly one of them.

    Raises `ParseError`: no certificate, none or several named SEV-VCEK or SEV-VLEK, an AMD extension that is missing,
    malformed or there twice, both or neither of hwID and cspID.
    Source: AMD 57230, VCEK certificate.
    """
    found = split_certificates(der_or_pem, what="VEK certificate")
    if len(found) == 1:
        amd = parse_amd_certificate(found[0], what="VEK certificate")
        return vek_of(amd, raw=der_or_pem)
    chain = parse_amd_certificates(der_or_pem, what="VEK certificate")
    veks = [item for item in chain if item.subject_cn in _SIGNERS]
    if len(veks) != 1:
        names = ", ".join(item.subject_cn or "(no name)" for item in chain)
        raise _refuse(der_or_pem, "subject", "one SEV-VCEK or SEV-VLEK", f"{len(veks)} of them: {names}")
    return vek_of(veks[0], raw=der_or_pem)


def vek_of(amd: AmdCertificate, *, raw: bytes = b"") -> VekCertificate:
    """Return the VCEK or VLEK that a certificate is. `raw` is what it was read from. Raises `ParseError`."""
    vek = _read(amd.raw)
    return replace(vek, raw=raw) if raw and raw != amd.raw else vek


@lru_cache(maxsize=32)
def _read(data: bytes) -> VekCertificate:
    amd = parse_amd_certificate(data, what="VEK certificate")
    signer = _SIGNERS.get(amd.subject_cn)
    if signer is None:
        raise _refuse(data, "subject", "CN SEV-VCEK or SEV-VLEK", f"CN {amd.subject_cn or '(none)'}")
    values = _amd_extensions(amd)
    missing = [name for name in (_STRUCT_VERSION, _PRODUCT_NAME, *_REQUIRED) if name not in values]
    if missing:
        oids = ", ".join(AMD_ARC + name for name in missing)
        raise _refuse(data, "extensions", f"each of AMD's extensions, {oids} too", "no such extension")
    if (_HW_ID in values) == (_CSP_ID in values):
        found = "both" if _HW_ID in values else "neither"
        raise _refuse(data, "extensions", "either hwID (VCEK) or cspID (VLEK)", found)
    return VekCertificate(
        raw=data,
        amd=amd,
        signer=signer,
        struct_version=der.small_integer(values[_STRUCT_VERSION], what="VEK structVersion"),
        product_name=der.ia5_string(values[_PRODUCT_NAME], what="VEK productName"),
        spl=MappingProxyType(
            {
                name: der.small_integer(values[suffix], what=f"VEK {name}")
                for suffix, name in _LEVELS.items()
                if suffix in values
            }
        ),
        hw_id=_hw_id(values[_HW_ID]) if _HW_ID in values else None,
        csp_id=der.ia5_string(values[_CSP_ID], what="VEK cspID") if _CSP_ID in values else None,
    )


def _amd_extensions(amd: AmdCertificate) -> dict[str, bytes]:
    """Return AMD's extensions by the end of their OID. A second one of an OID was refused when it was read."""
    found = {}
    for extension in amd.view.extensions:
        oid = extension.oid.dotted_string
        if oid.startswith(AMD_ARC):
            value = extension.value
            assert isinstance(value, x509.UnrecognizedExtension)
            found[oid.removeprefix(AMD_ARC)] = value.value
    return found


def _hw_id(value: bytes) -> bytes:
    """Return the chip id: 64 bytes (8 on Turin), raw in the usual form, or in an OCTET STRING."""
    if len(value) in _HW_ID_BYTES:
        return value
    try:
        content = der.whole(value, der.OCTET_STRING)
    except der.DerError:
        content = b""
    if len(content) not in _HW_ID_BYTES:
        raise _refuse(value, "hwID", "64 or 8 bytes, raw or in an OCTET STRING", f"{len(value)} bytes")
    return content


def _key_words(amd: AmdCertificate) -> str:
    key = amd.key
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"EC-{key.curve.name}"
    return f"RSA-{key.key_size}" if isinstance(key, rsa.RSAPublicKey) else type(key).__name__


def _sha256(data: bytes) -> str:
    import hashlib

    return hashlib.sha256(data).hexdigest()


_NOTES = {
    "structVersion": "version of this set of extensions: 0 on Milan and Genoa, 1 on Turin",
    "productName": "the product line; what follows a hyphen is the stepping",
    "hwID": "the chip: equals the report's CHIP_ID",
    "cspID": "the cloud that the key was loaded for",
}


def _spans(vek: VekCertificate) -> tuple[Span, ...]:
    names = {AMD_ARC + suffix: name for suffix, name in _LEVELS.items()}
    names |= {AMD_ARC + suffix: name for suffix, name in zip("1245", _NOTES, strict=True)}
    decoded = vek.extensions()
    made = []
    at = 0
    for extension in vek.amd.view.extensions:
        name = names.get(extension.oid.dotted_string)
        if name is None or not isinstance(extension.value, x509.UnrecognizedExtension):
            continue
        value = extension.value.value
        prefix = bytes([der.OCTET_STRING, len(value)])  # every one of AMD's values is shorter than 128 bytes
        at = vek.raw.find(prefix + value, at) + len(prefix)
        note = _NOTES.get(name, "a security patch level: equals its part of REPORTED_TCB")
        made.append(
            Span(offset=at, size=len(value), name=name, value=decoded[name], meaning=note, source=SOURCE),
        )
        at += len(value)
    return tuple(made)


def _refuse(data: bytes, name: str, expected: str, found: str) -> ParseError:
    return ParseError(
        what=f"VEK certificate {name}",
        where=where(0, len(data)),
        expected=expected,
        found=found,
        fix="Pass the VCEK or VLEK of this report: AMD's key service, Azure's THIM endpoint or the cloud has it.",
        source=SOURCE,
    )
