"""The THIM certificate answer of IMDS: the VCEK and its chain as the host hands them out. JSON, no trust."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from skrkit.encoding import json_object, member
from skrkit.errors import ParseError
from skrkit.wire import Json, Span, pointer

_TCB_HEX_DIGITS = 16
_SOURCE = "IMDS GET /metadata/THIM/amd/certification"
_KNOWN = ("vcekCert", "tcbm", "certificateChain", "cacheControl")


@dataclass(frozen=True, slots=True, kw_only=True)
class Thim:
    """A THIM answer. `vcek_cert` and `certificate_chain` are PEM text; `tcbm` is the TCB the VCEK stands for."""

    kind: ClassVar[str] = "thim"
    title: ClassVar[str] = "THIM certificates"

    vcek_cert: str = field(repr=False)
    tcbm: str
    certificate_chain: str = field(repr=False)
    cache_control: str
    unknown: tuple[str, ...] = ()
    raw: bytes = field(repr=False)

    def fields(self) -> dict[str, Json]:
        """Return the members by IMDS's own names; members that are not known by name only."""
        members: dict[str, Json] = {
            "vcekCert": self.vcek_cert,
            "tcbm": self.tcbm,
            "certificateChain": self.certificate_chain,
            "cacheControl": self.cache_control,
        }
        if self.unknown:
            members["not_recognised"] = list(self.unknown)
        return members

    def spans(self) -> tuple[Span, ...]:
        """Return no spans: the document is text."""
        return ()


def meanings() -> dict[str, str]:
    """Return what each member means, by field name."""
    return {
        "vcekCert": "certificate of the key that signs this chip's reports at this TCB",
        "tcbm": "TCB_VERSION of the VCEK, most significant byte first: equals REPORTED_TCB read as a number",
        "certificateChain": "ASK, then ARK",
        "cacheControl": "seconds the host may keep the answer",
    }


def parse_thim(data: bytes) -> Thim:
    """Return the THIM answer in `data`: `vcekCert` and `certificateChain` in PEM, `tcbm` in 16 hex digits.

    `cacheControl` may be absent. Raises `ParseError`. Source: IMDS THIM, captured answers.
    """
    document = json_object(data, what="THIM answer", where="the whole text")
    tcbm = str(member(document, "tcbm", str, what="THIM"))
    try:
        well_formed = len(tcbm) == _TCB_HEX_DIGITS and len(bytes.fromhex(tcbm)) == _TCB_HEX_DIGITS // 2
    except ValueError:
        well_formed = False
    if not well_formed:
        raise _refuse("tcbm", f"{_TCB_HEX_DIGITS} hex digits", repr(tcbm[:40]))
    return Thim(
        vcek_cert=_pem(document, "vcekCert"),
        tcbm=tcbm,
        certificate_chain=_pem(document, "certificateChain"),
        cache_control=str(document.get("cacheControl", "")),
        unknown=tuple(name for name in document if name not in _KNOWN),
        raw=data,
    )


def _pem(document: dict[str, Json], name: str) -> str:
    text = str(member(document, name, str, what="THIM"))
    if "-----BEGIN CERTIFICATE-----" not in text:
        raise _refuse(name, "certificates in PEM", f"{len(text)} characters without a BEGIN CERTIFICATE line")
    return text


def _refuse(name: str, expected: str, found: str) -> ParseError:
    return ParseError(
        what=f"THIM {name}",
        where=pointer(name),
        expected=expected,
        found=found,
        fix="Pass the answer as IMDS gave it.",
        source=_SOURCE,
    )
