"""The SEV-SNP attestation report: 1184 bytes, little-endian, versions 2 to 5. Bytes to a model, no trust.

Only the size and the version are insisted on here: a report with an odd bit can still be shown, and each oddity is a
named step of the verifier. Source: AMD 56860 (SEV-SNP firmware ABI), "Attestation Report".
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

from skrkit.errors import ParseError
from skrkit.evidence import snp_bits
from skrkit.evidence.tcb import Product, Tcb, TcbLayout, layout_of
from skrkit.wire import Field, Json, Span, is_zero, where

REPORT_BYTES = 0x4A0
SIGNED_BYTES = 0x2A0
SIGNATURE_PART_BYTES = 72  # R and S are this long, and 48 bytes of each are used
KNOWN_VERSIONS = (2, 3, 4, 5)
MIN_REPORT_CPUID_VERSION = 3
MIN_REPORT_MITIGATION_VERSION = 5
TURIN_CHIP_ID_BYTES = 8
SOURCE = "AMD 56860, Attestation Report"

_HEAD = (
    Field("version", 0x000, 4, "version of the report's layout"),
    Field("guest_svn", 0x004, 4, "guest security version, from the ID block"),
    Field("policy", 0x008, 8),
    Field("family_id", 0x010, 16, "from the ID block, else zero"),
    Field("image_id", 0x020, 16, "from the ID block, else zero"),
    Field("vmpl", 0x030, 4, "privilege level that asked for the report; Azure's paravisor is 0"),
    Field("signature_algo", 0x034, 4, "1 is ECDSA P-384 with SHA-384"),
    Field("current_tcb", 0x038, 8, "running firmware"),
    Field("platform_info", 0x040, 8),
    Field("key_info", 0x048, 4),
    Field("reserved_04c", 0x04C, 4, "zero"),
    Field("report_data", 0x050, 64, "chosen by the requester; on Azure SHA-256 of the runtime claims, then zeros"),
    Field("measurement", 0x090, 48, "launch digest: SHA-384 over the guest's first pages"),
    Field("host_data", 0x0C0, 32, "set by the host at launch; zero on a confidential VM"),
    Field(
        "id_key_digest", 0x0E0, 48, "SHA-384 of the key that signed the ID block: on Azure the paravisor's publisher"
    ),
    Field("author_key_digest", 0x110, 48, "SHA-384 of the author key, where there is one"),
    Field("report_id", 0x140, 32, "random, and the same for the guest's whole life"),
    Field("report_id_ma", 0x160, 32, "of the migration agent; all ff without one"),
    Field("reported_tcb", 0x180, 8, "the level that the signing key stands for: the VCEK must match it"),
)
_CPUID_V2 = (Field("reserved_188", 0x188, 24, "zero"),)
_CPUID_V3 = (
    Field("cpuid_fam_id", 0x188, 1, "processor family, base and extended added"),
    Field("cpuid_mod_id", 0x189, 1, "processor model, extended and base joined"),
    Field("cpuid_step", 0x18A, 1, "processor stepping"),
    Field("reserved_18b", 0x18B, 21, "zero"),
)
_CHIP = (
    Field("chip_id", 0x1A0, 64, "identifies the processor; zero when the host masks it"),
    Field("committed_tcb", 0x1E0, 8, "the floor that firmware cannot be rolled back below"),
    Field("current_build", 0x1E8, 1),
    Field("current_minor", 0x1E9, 1),
    Field("current_major", 0x1EA, 1),
    Field("reserved_1eb", 0x1EB, 1, "zero"),
    Field("committed_build", 0x1EC, 1),
    Field("committed_minor", 0x1ED, 1),
    Field("committed_major", 0x1EE, 1),
    Field("reserved_1ef", 0x1EF, 1, "zero"),
    Field("launch_tcb", 0x1F0, 8, "running firmware when the guest was launched or imported"),
)
_TAIL_V2 = (Field("reserved_1f8", 0x1F8, 168, "zero"),)
_TAIL_V5 = (
    Field("launch_mit_vector", 0x1F8, 8, "mitigations verified at launch, a bit each"),
    Field("current_mit_vector", 0x200, 8, "mitigations verified now, a bit each"),
    Field("reserved_208", 0x208, 152, "zero"),
)
_SIGNATURE = (
    Field("signature_r", 0x2A0, 72, "little-endian, the low 48 bytes"),
    Field("signature_s", 0x2E8, 72, "little-endian, the low 48 bytes"),
    Field("reserved_330", 0x330, 368, "zero"),
)


def layout(version: int) -> tuple[Field, ...]:
    """Return the layout table of a report version: one row a field, with neither gap nor overlap."""
    cpuid = _CPUID_V3 if version >= MIN_REPORT_CPUID_VERSION else _CPUID_V2
    tail = _TAIL_V5 if version >= MIN_REPORT_MITIGATION_VERSION else _TAIL_V2
    return _HEAD + cpuid + _CHIP + tail + _SIGNATURE


@dataclass(frozen=True, slots=True, kw_only=True)
class SnpReport:
    """A parsed report. Byte strings are as they stand; `signature_r` and `signature_s` are numbers.

    `product` is what the report itself shows: from CPUID (version 3 and later) or, for Turin, from the form of
    `chip_id`. `product_source` says which. A version 2 report of Milan or Genoa shows neither: see `identified`.
    """

    kind: ClassVar[str] = "snp-report"
    title: ClassVar[str] = "SEV-SNP attestation report"

    raw: bytes
    version: int
    guest_svn: int
    policy: int
    family_id: bytes
    image_id: bytes
    vmpl: int
    signature_algo: int
    current_tcb: bytes
    platform_info: int
    key_info: int
    report_data: bytes
    measurement: bytes
    host_data: bytes
    id_key_digest: bytes
    author_key_digest: bytes
    report_id: bytes
    report_id_ma: bytes
    reported_tcb: bytes
    chip_id: bytes
    committed_tcb: bytes
    launch_tcb: bytes
    signature_r: int
    signature_s: int
    product: Product | None
    product_source: str

    @property
    def signed(self) -> bytes:
        """The 672 bytes that the signature covers, as received."""
        return self.raw[:SIGNED_BYTES]

    @property
    def cpuid(self) -> tuple[int, int, int] | None:
        """Family, model and stepping; None below version 3, where the bytes are reserved."""
        if self.version < MIN_REPORT_CPUID_VERSION:
            return None
        return self.raw[0x188], self.raw[0x189], self.raw[0x18A]

    @property
    def mitigations(self) -> tuple[int, int] | None:
        """The launch and the current mitigation vector; None below version 5, where the bytes are reserved."""
        if self.version < MIN_REPORT_MITIGATION_VERSION:
            return None
        return int.from_bytes(self.raw[0x1F8:0x200], "little"), int.from_bytes(self.raw[0x200:0x208], "little")

    @property
    def current_version(self) -> tuple[int, int, int]:
        """Major, minor and build of the running firmware."""
        return self.raw[0x1EA], self.raw[0x1E9], self.raw[0x1E8]

    @property
    def committed_version(self) -> tuple[int, int, int]:
        """Major, minor and build of the committed firmware."""
        return self.raw[0x1EE], self.raw[0x1ED], self.raw[0x1EC]

    @property
    def signing_key(self) -> str:
        """The key that KEY_INFO names: "VCEK", "VLEK", "none" or "reserved"."""
        return snp_bits.signing_key_name(self.key_info)

    @property
    def is_chip_masked(self) -> bool:
        """Whether the host hides the chip id (64 zero bytes)."""
        return is_zero(self.chip_id)

    @property
    def tcb_layout(self) -> TcbLayout | None:
        """The layout of the four TCB values, or None while the product line is not known.

        A version 2 report whose chip id has bytes after the eighth is of Milan or of Genoa, which share a layout.
        """
        if self.product is not None:
            return layout_of(self.product)
        if self.version < MIN_REPORT_CPUID_VERSION and not self.is_chip_masked:
            return TcbLayout.CLASSIC
        return None

    def tcb(self, name: str) -> Tcb:
        """Return `current_tcb`, `reported_tcb`, `committed_tcb` or `launch_tcb` with the layout to read it by."""
        value: bytes = getattr(self, name)
        return Tcb(value, self.tcb_layout)

    def identified(self, product: Product, source: str) -> SnpReport:
        """Return the same report with the product line that something else shows, such as "vek_certificate"."""
        return replace(self, product=product, product_source=source)

    def reserved_set(self) -> tuple[Field, ...]:
        """Return the reserved fields that are not zero, as this version lays them out; none in a genuine report."""
        return tuple(row for row in _RESERVED[self.version] if any(self.raw[row.offset : row.offset + row.size]))

    def fields(self) -> dict[str, Json]:
        """Return the decoded values. TCB values and bit fields are objects with the value as `hex`."""
        members: dict[str, Json] = {
            "version": self.version,
            "guest_svn": self.guest_svn,
            "product": None if self.product is None else self.product.value,
            "product_source": self.product_source or None,
            "policy": snp_bits.policy_members(self.policy),
            "family_id": self.family_id.hex(),
            "image_id": self.image_id.hex(),
            "vmpl": self.vmpl,
            "signature_algo": self.signature_algo,
            "current_tcb": self.tcb("current_tcb").to_json(),
            "platform_info": snp_bits.platform_members(self.platform_info),
            "key_info": snp_bits.key_info_members(self.key_info),
        }
        for name in _HEX_FIELDS:
            members[name] = getattr(self, name).hex()
        family = self.cpuid
        members |= {
            "reported_tcb": self.tcb("reported_tcb").to_json(),
            "cpuid": None if family is None else dict(zip(("family", "model", "stepping"), family, strict=True)),
            "chip_id": self.chip_id.hex(),
            "committed_tcb": self.tcb("committed_tcb").to_json(),
            "current_version": dict(zip(("major", "minor", "build"), self.current_version, strict=True)),
            "committed_version": dict(zip(("major", "minor", "build"), self.committed_version, strict=True)),
            "launch_tcb": self.tcb("launch_tcb").to_json(),
        }
        if self.mitigations is not None:
            members["launch_mit_vector"], members["current_mit_vector"] = map(hex, self.mitigations)
        members["signature"] = {"r": f"{self.signature_r:x}", "s": f"{self.signature_s:x}"}
        members["signed_bytes_sha384"] = hashlib.sha384(self.signed).hexdigest()
        return members

    def spans(self) -> tuple[Span, ...]:
        """Return a span a field, in order of offset, with what the value means."""
        return tuple(_span(self, row) for row in layout(self.version))


_HEX_FIELDS = (
    "report_data",
    "measurement",
    "host_data",
    "id_key_digest",
    "author_key_digest",
    "report_id",
    "report_id_ma",
)
_RESERVED = {version: tuple(row for row in layout(version) if row.name.startswith("reserved")) for version in range(6)}
_UINTS = frozenset({"version", "guest_svn", "vmpl", "signature_algo"})
_TCBS = frozenset({"current_tcb", "reported_tcb", "committed_tcb", "launch_tcb"})
_WORDS: dict[str, Callable[[int], str]] = {
    "policy": snp_bits.policy_words,
    "platform_info": snp_bits.platform_words,
    "key_info": snp_bits.key_info_words,
}


def _span(report: SnpReport, row: Field) -> Span:
    data = report.raw[row.offset : row.offset + row.size]
    number = int.from_bytes(data, "little")
    value: Json = data.hex()
    meaning = row.note
    if row.name in _UINTS or row.size == 1:
        value = number
    elif row.name in _WORDS:
        value, meaning = hex(number), _WORDS[row.name](number)
    elif row.name in _TCBS:
        tcb = report.tcb(row.name)
        value, meaning = tcb.hex, f"{row.note}: {tcb.words()}"
    elif row.name.startswith("signature_"):
        value = f"{number:x}"
    elif row.name.endswith("_mit_vector"):
        value = hex(number)
    if row.name.startswith("reserved"):
        meaning = "reserved, zero" if is_zero(data) else "reserved, and NOT zero: a newer format, or a changed report"
    return Span(offset=row.offset, size=row.size, name=row.name, value=value, meaning=meaning, source=SOURCE)


# Family and model of CPUID to product line. Source: github.com/virtee/sev (some other tools leave out 0xAF).
_MODELS = (
    (0x19, range(0x10), Product.MILAN),
    (0x19, range(0x10, 0x20), Product.GENOA),
    (0x19, range(0xA0, 0xB0), Product.GENOA),
    (0x1A, range(0x12), Product.TURIN),
)


def product_of_cpuid(family: int, model: int) -> Product | None:
    """Return the product line of a processor family and model, or None for one that is not known."""
    for known, models, product in _MODELS:
        if family == known and model in models:
            return product
    return None


def _product(data: bytes, version: int) -> tuple[Product | None, str]:
    if version >= MIN_REPORT_CPUID_VERSION:
        product = product_of_cpuid(data[0x188], data[0x189])
        return product, "cpuid" if product else ""
    chip_id = data[0x1A0:0x1E0]
    if is_zero(chip_id[TURIN_CHIP_ID_BYTES:]) and not is_zero(chip_id):
        return Product.TURIN, "chip_id"
    return None, ""


def parse_snp_report(data: bytes) -> SnpReport:
    """Return the SNP attestation report in `data`: exactly 1184 bytes, version 2, 3, 4 (as 3) or 5.

    Raises `ParseError`: another size, an unknown version, and, with advice, an Azure HCL blob that holds a report.
    Source: AMD 56860, "Attestation Report".
    """
    if len(data) != REPORT_BYTES:
        raise _wrong_size(data)
    version = int.from_bytes(data[:4], "little")
    if version not in KNOWN_VERSIONS:
        raise ParseError(
            what="SNP report version",
            where=where(0, 4),
            expected="2, 3, 4 or 5",
            found=str(version),
            fix="Update skrkit if AMD has published this version; a report is never read as the nearest version.",
            source=SOURCE,
        )
    product, product_source = _product(data, version)
    return SnpReport(
        raw=data,
        version=version,
        guest_svn=int.from_bytes(data[0x004:0x008], "little"),
        policy=int.from_bytes(data[0x008:0x010], "little"),
        family_id=data[0x010:0x020],
        image_id=data[0x020:0x030],
        vmpl=int.from_bytes(data[0x030:0x034], "little"),
        signature_algo=int.from_bytes(data[0x034:0x038], "little"),
        current_tcb=data[0x038:0x040],
        platform_info=int.from_bytes(data[0x040:0x048], "little"),
        key_info=int.from_bytes(data[0x048:0x04C], "little"),
        report_data=data[0x050:0x090],
        measurement=data[0x090:0x0C0],
        host_data=data[0x0C0:0x0E0],
        id_key_digest=data[0x0E0:0x110],
        author_key_digest=data[0x110:0x140],
        report_id=data[0x140:0x160],
        report_id_ma=data[0x160:0x180],
        reported_tcb=data[0x180:0x188],
        chip_id=data[0x1A0:0x1E0],
        committed_tcb=data[0x1E0:0x1E8],
        launch_tcb=data[0x1F0:0x1F8],
        signature_r=int.from_bytes(data[0x2A0:0x2E8], "little"),
        signature_s=int.from_bytes(data[0x2E8:0x330], "little"),
        product=product,
        product_source=product_source,
    )


def _wrong_size(data: bytes) -> ParseError:
    fix = "Pass the whole report and nothing else."
    if data[:4] == b"HCLA":
        fix = "This is an Azure HCL report (it starts with HCLA): read it as hcl-report."
    elif data and data[:64].isascii() and data[:64].decode("ascii").isprintable():
        fix = "This looks like text: decode the hex or base64 first."
    return ParseError(
        what="SNP report",
        where=where(0, len(data)),
        expected=f"{REPORT_BYTES} bytes",
        found=f"{len(data)} bytes",
        fix=fix,
        source=SOURCE,
    )
