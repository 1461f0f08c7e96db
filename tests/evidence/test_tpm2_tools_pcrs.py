"""The PCR file of tpm2-tools: a real one, against the quote it was written beside."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skrkit.errors import ParseError
from skrkit.evidence.tpm2_tools_pcrs import parse_tpm2_tools_pcrs
from skrkit.tpm.attest import parse_attest
from skrkit.tpm.pcr import pcr_digest
from tests.evidence.attempt import attempt, is_worded


def test_values_are_what_the_tpm_quoted(captures: Path) -> None:
    folder = captures / "azure-trusted-launch-vtpm"
    pcrs = parse_tpm2_tools_pcrs((folder / "pcrs.bin").read_bytes())
    assert list(pcrs) == list(range(8))
    attest = parse_attest((folder / "quote-msg.bin").read_bytes())
    assert pcr_digest(pcrs, attest.pcr_select[0]) == attest.pcr_digest


@pytest.mark.parametrize(
    ("at", "value", "what", "expected", "found"),
    [
        (0x000, 2, "bank count", "1 (sha256)", "2"),
        (0x004, 4, "bank", "0x000b (sha256) and up to 4 bytes of selection", "0x0004, 3 bytes of selection"),
        (0x008, 1, "digests", "9, one a selected PCR", "8"),
        (0x084, 17, "list count", "at most 16", "17"),
        (0x088, 9, "digest count", "at most 8", "9"),
        (0x08C, 20, "digest size", "32", "20"),
    ],
)
def test_refusals(captures: Path, at: int, value: int, what: str, expected: str, found: str) -> None:
    data = bytearray((captures / "azure-trusted-launch-vtpm" / "pcrs.bin").read_bytes())
    data[at] = value
    with pytest.raises(ParseError) as caught:
        parse_tpm2_tools_pcrs(bytes(data))
    assert caught.value.what == f"tpm2-tools PCR file {what}"
    assert (caught.value.expected, caught.value.found) == (expected, found)


@given(st.binary(max_size=700))
@settings(max_examples=50, deadline=None)
def test_any_bytes(data: bytes) -> None:
    for made in (data, b"\1\0\0\0\x0b\0\3" + data):
        assert is_worded(attempt(lambda made=made: parse_tpm2_tools_pcrs(made)))  # type: ignore[misc]
