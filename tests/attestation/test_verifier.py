"""What the verifier says when something is missing, and what it refuses to be asked."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skrkit.attestation.steps import STEPS
from skrkit.attestation.verifier import Evidence, ReferenceValues, verify_evidence
from skrkit.errors import UsageError, VerificationError
from skrkit.tpm.signature import parse_signature
from tests.attestation.captured import NOW, evidence_of
from tests.conftest import CAPTURES

AZURE, BARE = "azure-snp-milan-v3", "snp-milan-v2-baremetal"


@pytest.mark.parametrize(
    ("change", "step", "detail"),
    [
        ({"vek": None}, "vek.parse", "no VCEK was given"),
        ({"chain": b""}, "chain.vek_signed_by_intermediate", "no certificate of SEV-Milan was given"),
        ({"quote_signature": None}, "quote.signature_by_ak", "no signature was given"),
        ({"pcrs": None}, "quote.pcr_digest", "no PCR values were given"),
        ({"quote": None}, "quote.nonce", "a nonce was given, but no quote that could hold it"),
    ],
)
def test_what_is_missing_is_not_checked(captures: Path, change: dict[str, Any], step: str, detail: str) -> None:
    result = verify_evidence(replace(evidence_of(captures, AZURE), **change), now=NOW)
    assert (result.verdict, result.exit_code) == ("incomplete", 4)
    assert not result.failed
    missing = result.step(step)
    assert missing is not None
    assert (missing.verdict, missing.detail) == ("not-checked", detail)
    with pytest.raises(VerificationError):
        result.raise_for_failure()


def test_report_alone_is_incomplete(captures: Path) -> None:
    evidence = evidence_of(captures, BARE)
    result = verify_evidence(Evidence(snp=evidence.snp), now=NOW)
    assert result.verdict == "incomplete"
    assert "report.signature" in [step.id for step in result.not_checked]
    assert "bind.hwID_eq_chip_id" in [step.id for step in result.not_checked]


def test_signature_is_checked_without_a_chain(captures: Path) -> None:
    """Every step that the given evidence allows is run: the key is there, the chain is not."""
    result = verify_evidence(replace(evidence_of(captures, BARE), chain=b""), now=NOW)
    signature = result.step("report.signature")
    assert signature is not None
    assert signature.verdict == "ok"
    assert result.verdict == "incomplete"


def test_crypto_stops_where_it_fails_and_says_so(captures: Path) -> None:
    evidence = evidence_of(captures, AZURE)
    chain = (captures / "amd-roots" / "genoa.pem").read_bytes()
    result = verify_evidence(replace(evidence, chain=chain), now=NOW)
    signature = result.step("report.signature")
    assert signature is not None
    assert (signature.verdict, signature.detail) == ("not-checked", "chain.vek_signed_by_intermediate failed")
    # and what does not depend on it is checked all the same
    chip = result.step("bind.hwID_eq_chip_id")
    assert chip is not None
    assert chip.verdict == "ok"
    error = result.failed[0].error
    assert error is not None
    assert error.expected == "a signature by the key of SEV-Milan"
    assert error.found == "no such certificate, only SEV-Genoa"


def test_signature_as_tpmt(captures: Path) -> None:
    evidence = evidence_of(captures, AZURE)
    assert evidence.quote_signature is not None
    wrapped = bytes.fromhex("0014000b0100") + evidence.quote_signature
    assert parse_signature(wrapped).rsa_bytes() == evidence.quote_signature
    assert verify_evidence(replace(evidence, quote_signature=wrapped), now=NOW).verdict == "verified"
    other = bytes.fromhex("0014000c0100") + evidence.quote_signature
    failed = verify_evidence(replace(evidence, quote_signature=other), now=NOW).failed
    assert [step.id for step in failed] == ["quote.signature_by_ak"]
    assert failed[0].error is not None
    assert (failed[0].error.expected, failed[0].error.found) == ("rsassa with sha256", "rsassa with sha384")


def test_key_as_pem_without_claims_is_not_bound(captures: Path) -> None:
    folder = captures / "azure-vtpm-quote"
    evidence = replace(
        evidence_of(captures, BARE),
        quote=(folder / "quote-msg.bin").read_bytes(),
        quote_signature=(folder / "quote-sig.bin").read_bytes(),
        ak=(folder / "ak.pem").read_bytes(),
        nonce=b"challenge",
    )
    result = verify_evidence(evidence, now=NOW)
    signed, bound = result.step("quote.signature_by_ak"), result.step("quote.ak_eq_runtime_claims")
    assert signed is not None
    assert bound is not None
    assert (signed.verdict, bound.verdict) == ("ok", "not-checked")


def test_report_data_as_nonce(captures: Path) -> None:
    evidence = evidence_of(captures, BARE)
    assert evidence.snp is not None
    assert verify_evidence(replace(evidence, nonce=evidence.snp[0x50:0x90]), now=NOW).verdict == "verified"


def test_reference_values_that_hold(captures: Path) -> None:
    report = verify_evidence(evidence_of(captures, AZURE), now=NOW).report
    assert report is not None
    reference = ReferenceValues(
        vmpl=None,
        minimum_tcb={"bootloader": 4, "tee": 0, "snp": 24, "microcode": 219},
        measurements=(bytes(48), report.measurement),
        host_data=bytes(32),
        report_data=report.report_data,
        id_key_digests=(report.id_key_digest,),
        chip_ids=(report.chip_id,),
        minimum_guest_svn=12,
        vm_unique_id="7df7b373-b947-4aaa-96e5-c358f2a03d20",
    )
    result = verify_evidence(evidence_of(captures, AZURE), now=NOW, reference=reference)
    assert result.verdict == "verified"
    assert "appraise.vm_unique_id" in [step.id for step in result.steps]
    assert "report.vmpl_0" not in [step.id for step in result.steps]


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ({"measurements": (bytes(47),)}, "47 bytes"),
        ({"host_data": b""}, "0 bytes"),
        ({"chip_ids": (bytes(8),)}, "8 bytes"),
        ({"vmpl": 4}, "4"),
        ({"minimum_tcb": {"microcode": 256}}, "microcode=256"),
        ({"minimum_tcb": {"ucode": 1}}, "ucode=1"),
    ],
)
def test_reference_values_of_the_wrong_form(values: dict[str, Any], found: str) -> None:
    with pytest.raises(UsageError) as caught:
        ReferenceValues(**values)
    assert caught.value.found == found


def test_time_without_a_zone(captures: Path) -> None:
    with pytest.raises(UsageError, match="a datetime with a time zone"):
        verify_evidence(evidence_of(captures, BARE), now=datetime(2026, 1, 1))  # noqa: DTZ001


def test_neither_or_both_reports() -> None:
    with pytest.raises(UsageError, match="found neither"):
        Evidence()
    with pytest.raises(UsageError, match="found both"):
        Evidence(hcl=b"", snp=b"")
    with pytest.raises(UsageError, match="expected none beside `hcl`, found 1 bytes"):
        Evidence(hcl=b"", runtime_data=b"x")


def test_every_step_is_in_the_protocol() -> None:
    import skrkit.attestation.verifier as protocol

    groups = {step.partition(".")[0] for step in STEPS}
    assert protocol.__doc__ is not None
    assert all(f"{group}." in protocol.__doc__ for group in groups - {"tdx"})


NOISE = st.binary(max_size=300)


@pytest.mark.skipif(not CAPTURES.is_dir(), reason=f"NO CAPTURES at {CAPTURES}")
@given(st.sampled_from(["hcl", "vek", "chain", "quote", "quote_signature", "ak", "event_log", "nonce"]), NOISE)
@settings(max_examples=120, deadline=None)
def test_noise_never_raises_and_never_verifies(name: str, noise: bytes) -> None:
    evidence = replace(evidence_of(CAPTURES, AZURE), **{name: noise})  # type: ignore[arg-type]
    result = verify_evidence(evidence, now=NOW)
    assert result.verdict != "verified"
    assert result.exit_code in (3, 4)


@pytest.mark.skipif(not CAPTURES.is_dir(), reason=f"NO CAPTURES at {CAPTURES}")
@given(st.sampled_from(["hcl", "vek", "chain", "quote", "quote_signature"]), st.floats(0, 0.999), st.integers(0, 7))
@settings(max_examples=150, deadline=None)
def test_a_flipped_bit_never_raises(name: str, place: float, bit: int) -> None:
    good = evidence_of(CAPTURES, AZURE)
    data = bytearray(getattr(good, name))
    data[int(place * len(data))] ^= 1 << bit
    result = verify_evidence(replace(good, **{name: bytes(data)}), now=NOW)  # type: ignore[arg-type]
    if result.verdict == "verified":  # only what nothing covers: text around PEM, the header's spare bytes, padding
        assert name in ("chain", "hcl")
