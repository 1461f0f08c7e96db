"""Whether an HCL report is of now: the paravisor puts into it what the guest has written a moment ago."""

from __future__ import annotations

from skrkit.errors import ParseError
from skrkit.evidence.hcl import parse_hcl_report
from skrkit.evidence.runtime import parse_runtime_claims


def other_user_data(hcl_report: bytes, user_data: bytes) -> bytes:
    """Return what an HCL report's runtime claims hold as `user-data` in place of `user_data`, padded to 64 bytes.

    Nothing (no bytes) if that is what they hold, or if they hold none at all: paravisors of before 2024 put in none,
    and their reports do not show when they were made. Nothing, too, for what is no report: other checks name that.
    Source: Azure's paravisor (openvmm, tpm_device).
    """
    try:
        found = parse_runtime_claims(parse_hcl_report(hcl_report).runtime_data).user_data
    except ParseError:
        return b""
    return b"" if found == user_data.ljust(64, b"\0") else found
