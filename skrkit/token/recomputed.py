"""What evidence says of claims: the shape of one recomputed value, and the evidence that values come from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from skrkit.errors import SkrkitError
from skrkit.evidence.hcl import HclReport, parse_hcl_report
from skrkit.wire import Json

NOT_GIVEN = "the evidence was not given"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recomputed:
    """A claim's value as the evidence has it. `source` names the field and its bytes, or a JSON pointer.

    `any_case`: two texts that differ in letter case alone are the same, as with hex and GUIDs. `inferred`: how the
    service derives the claim is not published, and this is how its tokens look.
    """

    value: Json
    source: str
    any_case: bool = False
    inferred: bool = False

    def agrees(self, found: Json) -> bool:
        """Return whether a token's value is this one; `true` is not 1, and the order of members is free."""
        if self.any_case and isinstance(found, str) and isinstance(self.value, str):
            return found.lower() == self.value.lower()
        return json.dumps(found, sort_keys=True) == json.dumps(self.value, sort_keys=True)


@dataclass(frozen=True, slots=True)
class NotRecomputed:
    """Why a claim that could come from evidence has no value here. `only_maa`: no evidence could change that."""

    why: str
    only_maa: bool = False


Answer: TypeAlias = "Recomputed | NotRecomputed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimEvidence:
    """The raw evidence of a token, as far as it is at hand. Empty means: not given.

    `hcl` is an HCL report; without one, `snp` is a bare report and `runtime_data` what its REPORT_DATA is the hash of.
    `quote` is TPMS_ATTEST, `pcrs` SHA-256 values by index, `key_public` the ephemeral key's TPM2B_PUBLIC, `nonce` what
    the client asked for. `request` is the guest attestation's AttestationInfo, decoded.
    """

    hcl: bytes = field(default=b"", repr=False)
    snp: bytes = field(default=b"", repr=False)
    runtime_data: bytes = field(default=b"", repr=False)
    quote: bytes = field(default=b"", repr=False)
    pcrs: Mapping[int, bytes] = field(default_factory=dict, repr=False)
    event_log: bytes = field(default=b"", repr=False)
    key_public: bytes = field(default=b"", repr=False)
    nonce: str = ""
    request: Mapping[str, Json] = field(default_factory=dict, repr=False)

    def opened(self) -> HclReport | NotRecomputed:
        """Return the HCL report, or why there is none to read."""
        if not self.hcl:
            return NotRecomputed("no HCL report was given")
        try:
            return parse_hcl_report(self.hcl)
        except SkrkitError as error:
            return unreadable(error)


def unreadable(error: SkrkitError) -> NotRecomputed:
    """Return why evidence that does not parse says nothing: what, where, and what was found."""
    return NotRecomputed(f"{error.what} at {error.where} does not parse: {error.found}")
