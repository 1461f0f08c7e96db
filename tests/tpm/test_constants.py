"""Numbers held against libtss2's header, which others wrote from the same specification."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from skrkit.tpm.algorithms import Alg
from skrkit.tpm.commands import Command
from skrkit.tpm.nvpublic import NvAttributes
from skrkit.tpm.public import ObjectAttributes
from skrkit.tpm.rc import decode_rc

HEADER = Path("/usr/include/tss2/tss2_tpm2_types.h")
BASES = {"VER1": 0x100, "FMT1": 0x080, "WARN": 0x900}
LIMITS = {"MAX_FM0", "NOT_USED"}  # the ends of ranges, not codes a TPM returns


@pytest.fixture(scope="module")
def header() -> str:
    if not HEADER.is_file():
        pytest.skip(f"NO {HEADER}: numbers are not held against another's. Install libtss2-dev.")
    return HEADER.read_text()


def _defined(header: str, prefix: str) -> dict[str, int]:
    pattern = rf"^#define {prefix}_(\w+)\s+\(\(\w+\) (0x[0-9A-Fa-f]+)\)"
    return {name: int(number, 16) for name, number in re.findall(pattern, header, re.M)}


def test_algorithms_and_commands(header: str) -> None:
    algorithms, codes = _defined(header, "TPM2_ALG"), _defined(header, "TPM2_CC")
    assert {alg.name: alg.value for alg in Alg} == {alg.name: algorithms[alg.name] for alg in Alg}
    assert {code.name: code.value for code in Command} == {code.name: codes[code.name] for code in Command}


def test_attributes(header: str) -> None:
    nv, objects = _defined(header, "TPMA_NV"), _defined(header, "TPMA_OBJECT")
    assert {bit.name: bit.value for bit in NvAttributes} == {bit.name: nv[str(bit.name)] for bit in NvAttributes}
    theirs = {name.replace("_", ""): number for name, number in objects.items()} | {
        "SIGN": objects["SIGN_ENCRYPT"],
        "X509SIGN": 1 << 19,  # newer than this header
    }
    ours = {str(bit.name).replace("_", ""): bit.value for bit in ObjectAttributes}
    assert ours == {name: theirs[name] for name in ours}


def test_response_codes(header: str) -> None:
    pattern = r"^#define TPM2_RC_(\w+)\s+\(\(TPM2_RC\)\s*\(TPM2_RC_(VER1|FMT1|WARN) \+ (0x[0-9A-Fa-f]+)\)\)"
    found = [(name, BASES[base] + int(number, 16)) for name, base, number in re.findall(pattern, header, re.M)]
    assert len(found) > 90
    for name, number in found:
        if name not in LIMITS:
            assert decode_rc(number).name == f"TPM_RC_{name}", hex(number)
