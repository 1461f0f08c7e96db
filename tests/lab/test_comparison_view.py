"""A token against its evidence in a notebook: each claim, its source, and the differences first."""

from __future__ import annotations

from pathlib import Path

from skrkit import lab
from skrkit.lab.display import show
from skrkit.token.comparison import ClaimEvidence, compare_claims
from tests.lab.test_display import words


def test_a_claim_that_differs_stands_first() -> None:
    report = bytearray(0x4A0)
    report[0] = 2
    compared = compare_claims({"x-ms-sevsnpvm-vmpl": 1, "iat": 5}, ClaimEvidence(snp=bytes(report)))
    said = words(show(compared))
    assert said.index("Different") < said.index("Only Azure Attestation knows")
    assert "evidence 0 (SNP report VMPL, byte 0x30, 4 bytes), token 1" in said


def test_the_token_of_a_world(home: Path) -> None:
    world = lab.ensure(step=4)
    assert world.attested is not None
    display = lab.token_against_evidence(world.attested)
    for said in (words(display), repr(display)):
        assert "0 differs" in said
        assert "0 not checked" in said  # the request is at hand here: nothing is left but what only MAA knows
        assert "SNP report MEASUREMENT" in said
