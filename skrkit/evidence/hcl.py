"""The Azure HCL report: what NV index 0x01400001 of a confidential VM's vTPM holds. Little-endian, no trust.

A header, the hardware report (1184 bytes), a second header, the runtime claims, zeros up to the size of the index.
Only the hardware report is signed. The claims are bound to it by hash; the two headers by nothing, so they are
checked against each other and against the size. Sources: github.com/microsoft/openvmm, igvm_attest;
github.com/kinvolk/azure-cvm-tooling, hcl.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar

from skrkit.errors import ParseError
from skrkit.evidence.runtime import RuntimeClaims, parse_runtime_claims
from skrkit.evidence.snp import REPORT_BYTES, SnpReport, parse_snp_report
from skrkit.evidence.td_report import TD_REPORT_BYTES, TdReport, parse_td_report
from skrkit.wire import Field, Json, Span, is_zero, where

SIGNATURE = b"HCLA"
HEADER_BYTES = 0x20
REQUEST_DATA = HEADER_BYTES + REPORT_BYTES  # 0x4C0
REQUEST_HEADER_BYTES = 20
VARIABLE_DATA = REQUEST_DATA + REQUEST_HEADER_BYTES  # 0x4D4
MAX_HCL_BYTES = 4096  # NV index 0x01400001 reads 2600 today, 2048 in 2023, 2900 once
SOURCE = "Azure HCL attestation report, as openvmm and azure-cvm-tooling lay it out"

LAYOUT = (
    Field("signature", 0x000, 4, "HCLA"),
    Field("version", 0x004, 4, "1 or 2; newer paravisors write 2"),
    Field("report_size", 0x008, 4, "bytes used: header, hardware report and request data"),
    Field("request_type", 0x00C, 4, "1 key release, 2 AK certificate, 3 wrapped key; 2 in the vTPM"),
    Field("status", 0x010, 4, "zero"),
    Field("reserved", 0x014, 12, "zero"),
    Field("hardware_report", HEADER_BYTES, REPORT_BYTES, "the only signed part"),
    Field("data_size", 0x4C0, 4, "20 and the size of the claims"),
    Field("request_data_version", 0x4C4, 4, "1"),
    Field("report_type", 0x4C8, 4, "1 VBS, 2 SNP, 3 TVM (no hardware report), 4 TDX, 5 CCA"),
    Field("hash_type", 0x4CC, 4, "1 SHA-256, 2 SHA-384, 3 SHA-512: binds the claims to REPORT_DATA"),
    Field("variable_data_size", 0x4D0, 4, "bytes of the runtime claims"),
)


class ReportType(IntEnum):
    """What kind of hardware report a blob holds. TVM (Trusted Launch) has none: it is not a confidential VM."""

    VBS = 1
    SNP = 2
    TVM = 3
    TDX = 4
    CCA = 5


class HashType(IntEnum):
    """The hash of the runtime claims that stands at the front of REPORT_DATA. Only SHA-256 was ever seen."""

    SHA256 = 1
    SHA384 = 2
    SHA512 = 3

    def digest(self, data: bytes) -> bytes:
        """Return the digest of `data`: 32, 48 or 64 bytes."""
        return hashlib.new(self.name.lower(), data).digest()


_OTHER_VMS = {
    ReportType.VBS: "This VM has virtualisation-based security; skrkit verifies SEV-SNP.",
    ReportType.TVM: "This is a Trusted Launch VM, which has no hardware report: take a DCasv5 or ECasv5 size.",
    ReportType.TDX: "This VM is TDX; skrkit verifies SEV-SNP: use a DCasv5 or ECasv5 size.",
    ReportType.CCA: "This VM is Arm CCA; skrkit verifies SEV-SNP.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class HclReport:
    """A parsed HCL report. `hardware_report` is 1184 bytes, `runtime_data` the exact bytes of the claims.

    `runtime_claims`, `snp()` and `td_report()` parse what they return, and raise `ParseError` for what does not parse.
    """

    kind: ClassVar[str] = "hcl-report"
    title: ClassVar[str] = "Azure HCL report"

    raw: bytes
    version: int
    report_size: int
    request_type: int
    status: int
    hardware_report: bytes
    data_size: int
    request_data_version: int
    report_type: ReportType
    hash_type: HashType
    runtime_data: bytes

    @property
    def runtime_claims(self) -> RuntimeClaims:
        """The runtime claims, parsed."""
        return parse_runtime_claims(self.runtime_data)

    @property
    def padding(self) -> bytes:
        """What follows the claims up to the size of the NV index; zeros in every known blob."""
        return self.raw[VARIABLE_DATA + len(self.runtime_data) :]

    def snp(self) -> SnpReport:
        """Return the SNP report. Raises `ParseError` that names the kind for a blob of another kind."""
        self._require(ReportType.SNP)
        return parse_snp_report(self.hardware_report)

    def td_report(self) -> TdReport:
        """Return the TDREPORT. Raises `ParseError` that names the kind for a blob of another kind."""
        self._require(ReportType.TDX)
        return parse_td_report(self.hardware_report[:TD_REPORT_BYTES])

    def _require(self, wanted: ReportType) -> None:
        if self.report_type is not wanted:
            found = self.report_type
            raise _refuse(
                _ROWS["report_type"],
                f"{wanted.value} ({wanted.name})",
                f"{found.value} ({found.name})",
                _OTHER_VMS.get(found, "This VM is SEV-SNP: read its report as snp-report."),
            )

    def fields(self) -> dict[str, Json]:
        """Return both headers, what follows from them, and the runtime claims."""
        claims = self.runtime_claims
        return {
            "header": {
                "signature": SIGNATURE.decode("ascii"),
                "version": self.version,
                "report_size": self.report_size,
                "request_type": self.request_type,
                "status": self.status,
                "reserved": [int.from_bytes(self.raw[at : at + 4], "little") for at in (0x14, 0x18, 0x1C)],
            },
            "request_data": {
                "data_size": self.data_size,
                "version": self.request_data_version,
                "report_type": self.report_type.value,
                "report_type_name": self.report_type.name,
                "hash_type": self.hash_type.value,
                "variable_data_size": len(self.runtime_data),
            },
            "variable_data_offset": VARIABLE_DATA,
            "variable_data_sha256": hashlib.sha256(self.runtime_data).hexdigest(),
            "blob_len": len(self.raw),
            "trailing_nonzero": not is_zero(self.padding),
            "runtime_claims": claims.fields(),
        }

    def spans(self) -> tuple[Span, ...]:
        """Return the headers, the fields of the hardware report in their place, the claims and the padding."""
        made: list[Span] = []
        for row in LAYOUT:
            if row.name == "hardware_report":
                made += self._hardware_spans()
            else:
                made.append(self._span(row))
        claims_size = len(self.runtime_data)
        text = self.runtime_data.decode("utf-8", "replace")
        made.append(_plain_span(VARIABLE_DATA, claims_size, "runtime_claims", text, "bound to REPORT_DATA by hash"))
        if padding := self.padding:
            meaning = "zeros up to the size of the NV index" if is_zero(padding) else "NOT zero: ignored"
            made.append(_plain_span(VARIABLE_DATA + claims_size, len(padding), "padding", None, meaning))
        return tuple(made)

    def _hardware_spans(self) -> list[Span]:
        if self.report_type is ReportType.SNP:
            inner, rest = self.snp().spans(), 0
        elif self.report_type is ReportType.TDX:
            inner, rest = self.td_report().spans(), REPORT_BYTES - TD_REPORT_BYTES
        else:
            inner, rest = (), REPORT_BYTES
        made = [
            Span(
                offset=HEADER_BYTES + span.offset,
                size=span.size,
                name=span.name,
                value=span.value,
                meaning=span.meaning,
                source=span.source,
            )
            for span in inner
        ]
        if rest:
            meaning = f"not shown for {self.report_type.name}" if not inner else "unused by a TDREPORT"
            made.append(_plain_span(REQUEST_DATA - rest, rest, "hardware_report_rest", None, meaning))
        return made

    def _span(self, row: Field) -> Span:
        data = self.raw[row.offset : row.offset + row.size]
        value: Json = int.from_bytes(data, "little")
        meaning = row.note
        if row.name == "signature":
            value = data.decode("ascii")
        elif row.name == "reserved":
            value = data.hex()
        elif row.name == "report_type":
            meaning = f"{self.report_type.name}: {row.note}"
        elif row.name == "hash_type":
            meaning = f"{self.hash_type.name}: {row.note}"
        return _plain_span(row.offset, row.size, row.name, value, meaning)


_ROWS = {row.name: row for row in LAYOUT}


def _plain_span(offset: int, size: int, name: str, value: Json, meaning: str) -> Span:
    return Span(offset=offset, size=size, name=name, value=value, meaning=meaning, source=SOURCE)


def parse_hcl_report(data: bytes) -> HclReport:
    """Return the HCL report in `data`: the bytes of NV index 0x01400001, with or without their padding.

    At least 1236 bytes (0x4D4) and the claims. The claims and the hardware report are cut out, not parsed.
    Raises `ParseError`: no HCLA, an unknown version, report type or hash type, sizes that contradict each other or run
    past the end, more than 4096 bytes.
    """
    if data[:4] != SIGNATURE:
        raise _refuse(_ROWS["signature"], "HCLA", _shown(data[:4]), _not_hcl(data))
    if not VARIABLE_DATA <= len(data) <= MAX_HCL_BYTES:
        raise ParseError(
            what="HCL report",
            where=where(0, len(data)),
            expected=f"{VARIABLE_DATA} to {MAX_HCL_BYTES} bytes",
            found=f"{len(data)} bytes",
            fix="Read the whole NV index 0x01400001, and nothing else.",
            source=SOURCE,
        )
    version = _one_of(data, "version", (1, 2))
    report_type = ReportType(_one_of(data, "report_type", tuple(ReportType)))
    hash_type = HashType(_one_of(data, "hash_type", tuple(HashType)))
    request_version = _one_of(data, "request_data_version", (1,))
    claims_size = _number(data, "variable_data_size")
    if claims_size > len(data) - VARIABLE_DATA:
        found = f"{claims_size}, past the end"
        raise _refuse(_ROWS["variable_data_size"], f"at most {len(data) - VARIABLE_DATA}", found)
    data_size = _one_of(data, "data_size", (REQUEST_HEADER_BYTES + claims_size,))
    report_size = _one_of(data, "report_size", (REQUEST_DATA + data_size,))
    return HclReport(
        raw=data,
        version=version,
        report_size=report_size,
        request_type=_number(data, "request_type"),
        status=_number(data, "status"),
        hardware_report=data[HEADER_BYTES:REQUEST_DATA],
        data_size=data_size,
        request_data_version=request_version,
        report_type=report_type,
        hash_type=hash_type,
        runtime_data=data[VARIABLE_DATA : VARIABLE_DATA + claims_size],
    )


def _number(data: bytes, name: str) -> int:
    row = _ROWS[name]
    return int.from_bytes(data[row.offset : row.offset + row.size], "little")


def _one_of(data: bytes, name: str, known: tuple[int, ...]) -> int:
    number = _number(data, name)
    if number not in known:
        names = [f"{item.value} ({item.name})" if isinstance(item, IntEnum) else str(item) for item in known]
        raise _refuse(_ROWS[name], " or ".join(names), str(number))
    return number


def _refuse(row: Field, expected: str, found: str, fix: str = "") -> ParseError:
    return ParseError(
        what=f"HCL report {row.name}",
        where=where(row.offset, row.size),
        expected=expected,
        found=found,
        fix=fix or "Read NV index 0x01400001 again, whole; these bytes contradict themselves or are of a newer format.",
        source=SOURCE,
    )


def _shown(data: bytes) -> str:
    if not data:
        return "no bytes"
    return data.decode("ascii") if data.isalnum() and data.isascii() else f"0x{data.hex()}"


def _not_hcl(data: bytes) -> str:
    if len(data) == REPORT_BYTES:
        return "These are 1184 bytes, the size of a bare SNP report: read them as snp-report."
    return "Read NV index 0x01400001 of a confidential VM's vTPM, and decode hex or base64 first."
