"""The Intel TDX TDREPORT: 1024 bytes, little-endian. skrkit shows it and checks its hashes; it does not verify it.

A TDREPORT has a MAC that only the same processor can check. Its proof to others is a TD quote, which needs Intel's
certificates. Source: Intel TDX Module ABI, TDREPORT_STRUCT; the offsets are held against a real Azure blob.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import ClassVar

from skrkit.errors import ParseError
from skrkit.wire import Field, Json, Span, is_zero, where

TD_REPORT_BYTES = 1024
TDX_TYPE = 0x81
DEBUG = 1 << 0
SOURCE = "Intel TDX Module ABI, TDREPORT_STRUCT"

LAYOUT = (
    Field("report_type", 0x000, 1, "0x81 is TDX"),
    Field("report_subtype", 0x001, 1, "zero"),
    Field("report_version", 0x002, 1, "0 or 1"),
    Field("reserved_003", 0x003, 13, "zero"),
    Field("cpu_svn", 0x010, 16, "security version of the processor"),
    Field("tee_tcb_info_hash", 0x020, 48, "SHA-384 of TEE_TCB_INFO"),
    Field("tee_info_hash", 0x050, 48, "SHA-384 of TDINFO"),
    Field("report_data", 0x080, 64, "chosen by the requester; on Azure SHA-256 of the runtime claims, then zeros"),
    Field("reserved_0c0", 0x0C0, 32, "zero"),
    Field("mac", 0x0E0, 32, "over the 224 bytes before it; only the same processor can check it"),
    Field("tee_tcb_info", 0x100, 239, "the TDX module: its measurement, signer and security versions"),
    Field("reserved_1ef", 0x1EF, 17, "zero"),
    Field("td_attributes", 0x200, 8, "bit 0: debug"),
    Field("xfam", 0x208, 8, "extended features that the guest may use"),
    Field("mrtd", 0x210, 48, "measurement of the initial contents"),
    Field("mrconfigid", 0x240, 48, "set by the host: configuration"),
    Field("mrowner", 0x270, 48, "set by the host: owner"),
    Field("mrownerconfig", 0x2A0, 48, "set by the host: owner's configuration"),
    Field("rtmr0", 0x2D0, 48, "runtime measurement 0"),
    Field("rtmr1", 0x300, 48, "runtime measurement 1"),
    Field("rtmr2", 0x330, 48, "runtime measurement 2"),
    Field("rtmr3", 0x360, 48, "runtime measurement 3"),
    Field("servtd_hash", 0x390, 48, "of bound service TDs; zero without one"),
    Field("reserved_3c0", 0x3C0, 64, "zero"),
)
_ROWS = {row.name: row for row in LAYOUT}
_NUMBERS = frozenset({"report_type", "report_subtype", "report_version"})
_HIDDEN = frozenset({"tee_tcb_info", "servtd_hash", "rtmr0", "rtmr1", "rtmr2", "rtmr3"})


@dataclass(frozen=True, slots=True, kw_only=True)
class TdReport:
    """A parsed TDREPORT. `report_data` is what Azure's paravisor binds the runtime claims with."""

    kind: ClassVar[str] = "td-report"
    title: ClassVar[str] = "Intel TDX TDREPORT"

    raw: bytes

    def value(self, name: str) -> bytes:
        """Return the bytes of a field, by its name in the layout."""
        row = _ROWS[name]
        return self.raw[row.offset : row.offset + row.size]

    @property
    def report_data(self) -> bytes:
        """The 64 bytes that the requester chose."""
        return self.value("report_data")

    @property
    def is_debug(self) -> bool:
        """Whether the TD may be debugged: its confidentiality is void then."""
        return bool(self.value("td_attributes")[0] & DEBUG)

    @property
    def holds_tcb_info_hash(self) -> bool:
        """Whether TEE_TCB_INFO_HASH is the SHA-384 of TEE_TCB_INFO (239 bytes)."""
        return hashlib.sha384(self.value("tee_tcb_info")).digest() == self.value("tee_tcb_info_hash")

    @property
    def holds_info_hash(self) -> bool:
        """Whether TEE_INFO_HASH is the SHA-384 of TDINFO (the last 512 bytes)."""
        return hashlib.sha384(self.raw[0x200:]).digest() == self.value("tee_info_hash")

    def fields(self) -> dict[str, Json]:
        """Return the decoded values; bytes as hex, the four runtime measurements as a list."""
        members: dict[str, Json] = {}
        for row in LAYOUT:
            if row.name in _HIDDEN or row.name.startswith("reserved"):
                continue
            value = self.value(row.name)
            members[row.name] = int.from_bytes(value, "little") if row.name in _NUMBERS else value.hex()
        members["rtmr"] = [self.value(f"rtmr{index}").hex() for index in range(4)]
        return members

    def spans(self) -> tuple[Span, ...]:
        """Return a span a field, in order of offset."""
        made = []
        for row in LAYOUT:
            data = self.value(row.name)
            value: Json = data[0] if row.name in _NUMBERS else data.hex()
            meaning = row.note
            if row.name.startswith("reserved"):
                meaning = "reserved, zero" if is_zero(data) else "reserved, and NOT zero"
            made.append(
                Span(offset=row.offset, size=row.size, name=row.name, value=value, meaning=meaning, source=SOURCE)
            )
        return tuple(made)


def parse_td_report(data: bytes) -> TdReport:
    """Return the TDREPORT in `data`: exactly 1024 bytes that begin with type 0x81.

    Raises `ParseError`: another size or type.
    """
    if len(data) != TD_REPORT_BYTES:
        raise _refuse("size", where(0, len(data)), f"{TD_REPORT_BYTES} bytes", f"{len(data)} bytes")
    if data[0] != TDX_TYPE:
        raise _refuse("report_type", where(0, 1), f"0x{TDX_TYPE:02x} (TDX)", f"0x{data[0]:02x}")
    return TdReport(raw=data)


def _refuse(name: str, at: str, expected: str, found: str) -> ParseError:
    return ParseError(
        what=f"TDREPORT {name}",
        where=at,
        expected=expected,
        found=found,
        fix="Pass the 1024 bytes that stand at 0x20 of an Azure HCL blob of report type 4.",
        source=SOURCE,
    )
