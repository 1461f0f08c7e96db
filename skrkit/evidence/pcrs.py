"""PCR values as JSON: an array in order of number, or an object from number to value. Hex text, no trust."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from skrkit.encoding import json_type, json_value
from skrkit.errors import ParseError
from skrkit.wire import Json, Span, is_zero, pointer

PCR_COUNT = 24
_BANKS = {20: "sha1", 32: "sha256", 48: "sha384"}
_MEANINGS = {
    0: "firmware code",
    1: "firmware configuration",
    2: "option ROM code",
    3: "option ROM configuration",
    4: "boot manager code",
    5: "boot manager configuration, GPT",
    6: "host platform maker's own events",
    7: "Secure Boot state and policy",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pcrs:
    """PCR values of one bank, `values` from PCR number to digest."""

    kind: ClassVar[str] = "pcrs"
    title: ClassVar[str] = "PCR values"

    bank: str
    values: dict[int, bytes]
    raw: bytes = field(repr=False)

    def fields(self) -> dict[str, Json]:
        """Return the bank and each PCR's value in hex; `unset` lists the PCRs that are all zeros."""
        unset: list[Json] = [number for number, value in self.values.items() if is_zero(value)]
        return {"bank": self.bank, **{f"pcr_{number}": value.hex() for number, value in self.values.items()}} | {
            "unset": unset
        }

    def spans(self) -> tuple[Span, ...]:
        """Return no spans: the document is text."""
        return ()


def meanings() -> dict[str, str]:
    """Return what firmware measures into each PCR, by field name. Source: TCG PC Client Platform Firmware Profile."""
    return {f"pcr_{number}": text for number, text in _MEANINGS.items()}


def parse_pcrs(data: bytes) -> Pcrs:
    """Return the PCR values of a JSON array (PCR 0 first, 24 at most) or of an object from "0".."23" to hex.

    Every value has the size of the same bank: 20, 32 or 48 bytes. Raises `ParseError`.
    """
    document = json_value(data, what="PCR values", where="the whole text")
    if isinstance(document, list):
        members: list[tuple[str, Json]] = [(str(index), item) for index, item in enumerate(document)]
    elif isinstance(document, dict):
        members = list(document.items())
    else:
        raise _refuse("", "an array or an object", f"a JSON {json_type(document)}")
    if not members or len(members) > PCR_COUNT:
        raise _refuse("", f"1 to {PCR_COUNT} values", str(len(members)))
    values = {_number(name): _digest(pointer(name), item) for name, item in members}
    if len(values) != len(members):
        raise _refuse("", "each PCR once", f"{len(members)} members for {len(values)} PCRs")
    sizes = {len(value) for value in values.values()}
    if len(sizes) > 1:
        raise _refuse("", "values of one bank", "sizes of " + ", ".join(f"{size} bytes" for size in sorted(sizes)))
    return Pcrs(bank=_BANKS[sizes.pop()], values=dict(sorted(values.items())), raw=data)


def _number(name: str) -> int:
    if not (name.isascii() and name.isdecimal()) or int(name[:4]) >= PCR_COUNT or len(name) > 2:
        raise _refuse(pointer(name), "a PCR number from 0 to 23", repr(name))
    return int(name)


def _digest(at: str, value: Json) -> bytes:
    if isinstance(value, str):
        try:
            digest = bytes.fromhex(value)
        except ValueError:
            digest = b""
        if len(digest) in _BANKS and len(value) == 2 * len(digest):
            return digest
    found = f"{len(value)} characters" if isinstance(value, str) else f"a JSON {json_type(value)}"
    raise _refuse(at, "40, 64 or 96 hex digits", found)


def _refuse(at: str, expected: str, found: str) -> ParseError:
    return ParseError(
        what="PCR values",
        where=at or "the whole document",
        expected=expected,
        found=found,
        fix="Pass one bank's values as hex: an array from PCR 0 on, or an object from number to value.",
    )
