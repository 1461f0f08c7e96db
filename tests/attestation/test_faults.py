"""Named faults on real captures. Each changes one thing, and the step that must find it is written beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from skrkit.attestation.verifier import AttestationResult, Evidence, ReferenceValues, verify_evidence
from skrkit.endorsements.certificate import parse_amd_certificates
from skrkit.endorsements.roots import AMD_ROOTS, TrustRoots
from skrkit.errors import ParseError, VerificationError
from skrkit.evidence.eventlog import parse_event_log
from skrkit.evidence.hcl import parse_hcl_report
from skrkit.sandbox import chipcerts
from tests.attestation.captured import NOW, evidence_of, report_of

AZURE, BARE, GENOA, VLEK = "azure-snp-milan-v3", "snp-milan-v2-baremetal", "snp-genoa-v5", "snp-vlek-milan-v3"
DEFAULTS = ReferenceValues()
Change = Callable[[Evidence, Path], Evidence]


def flip(data: bytes | None, offset: int, mask: int = 1) -> bytes:
    assert data is not None
    return data[:offset] + bytes([data[offset] ^ mask]) + data[offset + 1 :]


def put(data: bytes | None, offset: int, value: bytes) -> bytes:
    assert data is not None
    return data[:offset] + value + data[offset + len(value) :]


def in_report(offset: int, mask: int = 1) -> Change:
    """Flip bits of a bare report, or of the report inside an HCL blob."""

    def change(evidence: Evidence, _: Path) -> Evidence:
        if evidence.hcl is not None:
            return replace(evidence, hcl=flip(evidence.hcl, 0x20 + offset, mask))
        return replace(evidence, snp=flip(evidence.snp, offset, mask))

    return change


def in_blob(offset: int, mask: int = 1) -> Change:
    return lambda evidence, _: replace(evidence, hcl=flip(evidence.hcl, offset, mask))


def in_quote(offset: int) -> Change:
    return lambda evidence, _: replace(evidence, quote=flip(evidence.quote, offset))


def with_chain(name: str) -> Change:
    return lambda evidence, captures: replace(evidence, chain=(captures / "amd-roots" / name).read_bytes())


def with_vek(path: str) -> Change:
    return lambda evidence, captures: replace(evidence, vek=(captures / path).read_bytes())


def in_certificate(index: int, offset: int) -> Change:
    """Flip a bit from the end of a certificate of the chain: in its signature."""

    def change(evidence: Evidence, _: Path) -> Evidence:
        chain = [item.raw for item in parse_amd_certificates(evidence.chain)]
        chain[index] = flip(chain[index], len(chain[index]) + offset)
        return replace(evidence, chain=b"".join(chain))

    return change


def other_claims(evidence: Evidence, _: Path) -> Evidence:
    """The same claims with another VM id, and not a byte more."""
    assert evidence.hcl is not None
    return replace(evidence, hcl=evidence.hcl.replace(b"7DF7B373", b"7DF7B374"))


def other_pcr(evidence: Evidence, _: Path) -> Evidence:
    assert evidence.pcrs is not None
    return replace(evidence, pcrs={**evidence.pcrs, 7: hashlib.sha256(b"").digest()})


def missing_pcr(evidence: Evidence, _: Path) -> Evidence:
    assert evidence.pcrs is not None
    return replace(evidence, pcrs={index: value for index, value in evidence.pcrs.items() if index != 7})


def other_quote(evidence: Evidence, captures: Path) -> Evidence:
    """A genuine quote of another VM, with its own signature and PCRs."""
    folder = captures / "azure-snp-milan-v2"
    return replace(
        evidence,
        quote=(folder / "quote-msg.bin").read_bytes(),
        quote_signature=(folder / "quote-sig.bin").read_bytes(),
        nonce=b"challenge",
    )


def other_ak(evidence: Evidence, captures: Path) -> Evidence:
    """A genuine quote that verifies with the key given, which is not the key in the report's claims."""
    folder = captures / "azure-vtpm-quote"
    return replace(
        evidence,
        quote=(folder / "quote-msg.bin").read_bytes(),
        quote_signature=(folder / "quote-sig.bin").read_bytes(),
        ak=(folder / "ak.pem").read_bytes(),
        nonce=b"challenge",
        pcrs=None,
    )


def without_ark(evidence: Evidence, _: Path) -> Evidence:
    return replace(evidence, chain=parse_amd_certificates(evidence.chain)[0].raw)


def foreign_log(evidence: Evidence, captures: Path) -> Evidence:
    return replace(evidence, event_log=(captures / "gce-snp-eventlog" / "eventlog.bin").read_bytes())


def log_without_a_pcr(evidence: Evidence, captures: Path) -> Evidence:
    """Every event of PCR 7 left out: what is left of the log leads to all other values."""
    data = (captures / "gce-snp-eventlog" / "eventlog.bin").read_bytes()
    log = parse_event_log(data)
    ends = [event.offset for event in log.events[1:]] + [len(data)]
    parts = [data[event.offset : end] for event, end in zip(log.events, ends, strict=True) if event.pcr_index != 7]
    left = data[: log.events[0].offset] + b"".join(parts)
    assert parse_event_log(left).replay() == {pcr: value for pcr, value in log.replay().items() if pcr != 7}
    return replace(evidence, event_log=left, pcrs=log.replay(), quote=None, quote_signature=None)


def broken_log(evidence: Evidence, captures: Path) -> Evidence:
    log = (captures / "gce-snp-eventlog" / "eventlog.bin").read_bytes()
    return replace(evidence, event_log=log[:-1])


def changed(**members: object) -> Change:
    return lambda evidence, _: replace(evidence, **members)  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class Fault:
    name: str
    change: Change
    step: str
    capture: str = AZURE
    now: datetime = NOW
    roots: TrustRoots = AMD_ROOTS
    reference: ReferenceValues = DEFAULTS


SIGNED = {
    "guest svn": 0x004,
    "family id": 0x010,
    "image id": 0x020,
    "current tcb": 0x03F,
    "platform info": 0x040,
    "measurement": 0x090,
    "host data": 0x0C0,
    "id key digest": 0x0E0,
    "author key digest": 0x110,
    "report id": 0x140,
    "migration agent": 0x160,
    "cpuid stepping": 0x18A,
    "current build": 0x1E8,
    "launch tcb": 0x1F7,
    "r": 0x2A0,
    "s": 0x2E8,
}
TURIN_VCEK, AWS_VLEK = "turin-vcek-only/vcek.der", "snp-vlek-milan-v3/vlek.der"
VEK_OF_MISMATCH = "azure-snp-hcl-vcek-mismatch/vcek-chain.pem"
FAULTS = (
    *(Fault(name=f"signed byte: {name}", change=in_report(at), step="report.signature") for name, at in SIGNED.items()),
    Fault(name="blob without its mark", change=in_blob(0x000), step="hcl.parse"),
    Fault(name="blob of an unknown header version", change=in_blob(0x004, 8), step="hcl.parse"),
    Fault(name="blob with another report size", change=in_blob(0x008), step="hcl.parse"),
    Fault(name="blob with a status", change=in_blob(0x010), step="hcl.status_zero"),
    Fault(name="blob with another data size", change=in_blob(0x4C0), step="hcl.parse"),
    Fault(name="blob of an unknown report type", change=in_blob(0x4C8, 8), step="hcl.parse"),
    Fault(name="blob said to be of Trusted Launch", change=in_blob(0x4C8, 1), step="hcl.report_type_snp"),
    Fault(name="blob of an unknown hash", change=in_blob(0x4CC, 8), step="hcl.parse"),
    Fault(name="blob of another hash", change=in_blob(0x4CC, 3), step="hcl.report_data_eq_hash_of_variable_data"),
    Fault(name="claims past the end", change=in_blob(0x4D2), step="hcl.parse"),
    Fault(name="claims that are not JSON", change=in_blob(0x4D4, 0x40), step="hcl.runtime_claims"),
    Fault(name="claims of another VM", change=other_claims, step="hcl.report_data_eq_hash_of_variable_data"),
    Fault(name="report data hash", change=in_report(0x050), step="hcl.report_data_eq_hash_of_variable_data"),
    Fault(name="report data tail", change=in_report(0x08F), step="hcl.report_data_tail_zero"),
    Fault(name="unknown version", change=in_report(0x000, 4), step="report.version_known"),
    Fault(name="policy bit 17", change=in_report(0x00A, 2), step="report.policy_bit17_is_one"),
    Fault(name="policy bit 26", change=in_report(0x00B, 4), step="report.policy_high_bits_zero"),
    Fault(name="debug bit", change=in_report(0x00A, 8), step="report.debug_off"),
    Fault(name="migration bit", change=in_report(0x00A, 4), step="report.migrate_ma_off"),
    Fault(name="migration agent", change=in_report(0x17F), step="report.no_migration_agent"),
    Fault(name="level 1", change=in_report(0x030), step="report.vmpl_0"),
    Fault(name="level 4", change=in_report(0x030, 4), step="report.vmpl_in_range"),
    Fault(name="signature algorithm", change=in_report(0x034, 2), step="report.signature_algo_1"),
    Fault(name="key info reserved bit", change=in_report(0x048, 0x20), step="report.key_info_reserved_zero"),
    Fault(name="signing key VLEK", change=in_report(0x048, 4), step="vek.cn_matches_signing_key"),
    Fault(name="signing key none", change=in_report(0x048, 0x1C), step="report.signing_key_known"),
    Fault(name="chip key masked", change=in_report(0x048, 2), step="report.chip_key_not_masked"),
    *(
        Fault(name=f"reserved byte 0x{at:X}", change=in_report(at), step="report.reserved_ranges_zero")
        for at in (0x04C, 0x18B, 0x19F, 0x1EB, 0x1EF, 0x1F8, 0x29F, 0x330, 0x49F)
    ),
    Fault(name="reserved byte of v5", change=in_report(0x208), step="report.reserved_ranges_zero", capture=GENOA),
    Fault(name="reserved byte of v2", change=in_report(0x188), step="report.reserved_ranges_zero", capture=BARE),
    Fault(name="mitigations of v5", change=in_report(0x1F8), step="report.signature", capture=GENOA),
    Fault(
        name="no signature",
        change=lambda evidence, _: replace(evidence, snp=put(evidence.snp, 0x2A0, bytes(144))),
        step="report.signature_present",
        capture=GENOA,
    ),
    Fault(
        name="s zero", change=lambda e, _: replace(e, snp=put(e.snp, 0x2E8, bytes(72))), capture=GENOA,
        step="report.signature_present",
    ),
    Fault(name="r above the order", change=in_report(0x2D0), step="report.signature_present"),
    Fault(name="committed above current", change=in_report(0x1E6, 0x80), step="tcb.committed_le_current"),
    Fault(name="reported above current", change=in_report(0x186, 0x80), step="tcb.reported_le_current"),
    Fault(name="reserved byte of a TCB", change=in_report(0x03A), step="tcb.reserved_bytes_zero"),
    Fault(name="committed version above current", change=in_report(0x1EE, 2), step="version.committed_le_current"),
    Fault(name="reported boot loader", change=in_report(0x180), step="bind.blSPL_eq_reported_bootloader"),
    Fault(name="reported tee", change=in_report(0x181), step="bind.teeSPL_eq_reported_tee"),
    Fault(name="reported snp", change=in_report(0x186), step="bind.snpSPL_eq_reported_snp"),
    Fault(name="reported microcode", change=in_report(0x187), step="bind.ucodeSPL_eq_reported_microcode"),
    Fault(name="chip id", change=in_report(0x1A0), step="bind.hwID_eq_chip_id"),
    Fault(
        name="chip masked", change=lambda e, _: replace(e, snp=put(e.snp, 0x1A0, bytes(64))), capture=GENOA,
        step="bind.hwID_eq_chip_id",
    ),
    Fault(name="processor of another line", change=in_report(0x189, 0x10), step="bind.productName_line"),
    Fault(name="processor of no line", change=in_report(0x188, 0x80), step="report.product_known"),
    Fault(name="certificate of another chip", change=with_vek(VEK_OF_MISMATCH), step="bind.hwID_eq_chip_id"),
    Fault(name="certificate of another line", change=with_vek(TURIN_VCEK), step="bind.productName_line"),
    Fault(name="VLEK for a VCEK report", change=with_vek(AWS_VLEK), step="vek.cn_matches_signing_key"),
    Fault(name="intermediate as VEK", change=with_vek("amd-roots/milan.pem"), step="vek.parse"),
    Fault(name="no certificate as VEK", change=changed(vek=b"garbage"), step="vek.parse"),
    Fault(name="chain that is no chain", change=changed(chain=b"\x30\x03\x02\x01"), step="chain.parse"),
    Fault(name="chain of another line", change=with_chain("genoa.pem"), step="chain.vek_signed_by_intermediate"),
    Fault(name="chain of the other key", change=with_chain("milan_vlek.pem"), step="chain.vek_signed_by_intermediate"),
    Fault(name="VEK's signature", change=in_certificate(0, -1), capture=GENOA, step="chain.vek_signed_by_intermediate"),
    Fault(name="intermediate's signature", change=in_certificate(0, -1), step="chain.intermediate_signed_by_root"),
    Fault(name="root's signature", change=in_certificate(1, -1), step="chain.root_self_signed"),
    Fault(name="expired", change=changed(), now=datetime(2033, 1, 1, tzinfo=UTC), step="vek.validity"),
    Fault(name="not yet valid", change=changed(), now=datetime(2024, 1, 1, tzinfo=UTC), step="vek.validity"),
    Fault(
        name="all expired", change=changed(), now=datetime(2046, 1, 1, tzinfo=UTC), step="chain.intermediate_validity"
    ),
    Fault(name="root expired", change=changed(), now=datetime(2046, 1, 1, tzinfo=UTC), step="chain.root_validity"),
    Fault(name="VLEK expired", change=changed(), capture=VLEK, now=NOW, step="vek.validity"),
    Fault(
        name="root of nobody", change=changed(), step="chain.root_pinned", roots=TrustRoots(name="none", ark={})
    ),
    Fault(
        name="root pinned for another line",
        change=changed(),
        step="chain.root_pinned",
        roots=TrustRoots(name="odd", ark={"Genoa": AMD_ROOTS.ark["Milan"]}),
    ),
    Fault(name="quote without its mark", change=in_quote(0), step="quote.magic_TCG"),
    Fault(name="quote cut short", change=lambda e, _: replace(e, quote=(e.quote or b"")[:-1]), step="quote.parse"),
    Fault(name="quote's digest", change=in_quote(160), step="quote.signature_by_ak"),
    Fault(name="quote's clock", change=in_quote(0x62), step="quote.signature_by_ak"),
    Fault(
        name="quote's signature",
        change=lambda e, _: replace(e, quote_signature=flip(e.quote_signature, 255)),
        step="quote.signature_by_ak",
    ),
    Fault(name="signature of no form", change=changed(quote_signature=b"\0" * 255), step="quote.signature_by_ak"),
    Fault(name="quote of another VM", change=other_quote, step="quote.signature_by_ak"),
    Fault(name="key of another VM", change=other_ak, step="quote.ak_eq_runtime_claims"),
    Fault(name="key that is none", change=changed(ak=b"\x30\x00"), step="quote.ak"),
    Fault(name="another nonce", change=changed(nonce=b"challenge"), step="quote.nonce"),
    Fault(name="empty nonce", change=changed(nonce=b""), step="quote.nonce"),
    Fault(name="PCR value", change=other_pcr, step="quote.pcr_digest"),
    Fault(name="PCR missing", change=missing_pcr, step="quote.pcr_digest"),
    Fault(name="event log of another machine", change=foreign_log, step="eventlog.replay_eq_pcrs"),
    Fault(name="event log without a PCR's events", change=log_without_a_pcr, step="eventlog.replay_eq_pcrs"),
    Fault(name="event log cut short", change=broken_log, step="eventlog.parse"),
    Fault(name="nonce of a bare report", change=changed(nonce=b"another"), capture=BARE, step="report.nonce"),
    Fault(name="runtime data of a bare report", change=changed(runtime_data=b"{}"), capture="aci-snp-milan-v2",
          step="hcl.report_data_eq_hash_of_variable_data"),
    Fault(name="minimum TCB", change=changed(), step="appraise.minimum_tcb",
          reference=ReferenceValues(minimum_tcb={"microcode": 220})),
    Fault(name="minimum of a component that Milan has not", change=changed(), step="appraise.minimum_tcb",
          reference=ReferenceValues(minimum_tcb={"fmc": 0})),
    Fault(name="measurement", change=changed(), step="appraise.measurement",
          reference=ReferenceValues(measurements=(bytes(48),))),
    Fault(name="id key", change=changed(), step="appraise.id_key_digest",
          reference=ReferenceValues(id_key_digests=(bytes(48),))),
    Fault(name="chip that is not allowed", change=changed(), step="appraise.chip_id",
          reference=ReferenceValues(chip_ids=(bytes(64),))),
    Fault(name="host data", change=changed(), step="appraise.host_data",
          reference=ReferenceValues(host_data=b"\1" * 32)),
    Fault(name="report data", change=changed(), step="appraise.report_data",
          reference=ReferenceValues(report_data=bytes(64))),
    Fault(name="guest svn too low", change=changed(), step="appraise.guest_svn",
          reference=ReferenceValues(minimum_guest_svn=13)),
    Fault(name="mitigations of version 3", change=changed(), step="appraise.launch_mitigations",
          reference=ReferenceValues(launch_mitigations=1)),
    Fault(name="mitigation that is not there", change=changed(), step="appraise.current_mitigations", capture=GENOA,
          reference=ReferenceValues(current_mitigations=4)),
    Fault(name="provisional firmware", change=changed(), step="tcb.committed_eq_current", capture="azure-snp-milan-v2",
          reference=ReferenceValues(provisional_firmware_allowed=False)),
    Fault(name="VM id", change=changed(), step="appraise.vm_unique_id",
          reference=ReferenceValues(vm_unique_id="00000000-0000-0000-0000-000000000000")),
    Fault(name="cloud of a VCEK", change=changed(), step="appraise.csp_id", reference=ReferenceValues(csp_id="CN=x")),
)  # fmt: skip


def run(fault: Fault, captures: Path) -> AttestationResult:
    evidence = fault.change(evidence_of(captures, fault.capture), captures)
    return verify_evidence(evidence, now=fault.now, roots=fault.roots, reference=fault.reference)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_fault(captures: Path, fault: Fault) -> None:
    result = run(fault, captures)
    assert fault.step in [step.id for step in result.failed]
    assert result.verdict not in ("verified", "incomplete")
    assert result.exit_code in (3, 4)
    for step in result.failed:
        assert step.error is not None
        assert step.error.what
        assert step.error.where
        assert step.error.expected != step.error.found
        assert step.error.fix
        if isinstance(step.error, VerificationError):
            assert step.error.step == step.id
    with pytest.raises((ParseError, VerificationError)):
        result.raise_for_failure()


def test_names_are_unique() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)


def test_each_signed_byte(captures: Path) -> None:
    """No byte of the signed part can change unseen. Every 7th is tried, from a start that differs a bit."""
    evidence = evidence_of(captures, GENOA)
    for at in range(3, 0x2A0, 7):
        result = verify_evidence(replace(evidence, snp=flip(evidence.snp, at, 1 << at % 8)), now=NOW)
        assert result.verdict in ("failed", "unknown-version"), hex(at)


def forged(captures: Path, *, line_key: rsa.RSAPrivateKey | None = None) -> tuple[Evidence, TrustRoots]:
    """Return the real report under a forged chain: AMD's names and the right chip, but nobody's keys."""
    report = parse_hcl_report(evidence_of(captures, AZURE).hcl or b"").snp()
    ark_key = line_key or rsa.generate_private_key(65537, 2048)
    ask_key = rsa.generate_private_key(65537, 2048)
    then = NOW - timedelta(days=30)
    ark = chipcerts.ark_certificate(ark_key, then)
    ask = chipcerts.ask_certificate(ask_key.public_key(), ark_key, ark, then)
    vek_key = ec.generate_private_key(ec.SECP384R1())
    vek = chipcerts.vcek_certificate(
        vek_key.public_key(), ask_key, chip_id=report.chip_id, tcb=report.reported_tcb, now=then
    )
    pem = b"".join(item.public_bytes(Encoding.PEM) for item in (vek, ask, ark))
    own = TrustRoots(name="forger", ark={"Milan": parse_amd_certificates(pem)[2].spki_sha256})
    return Evidence(snp=report.raw, chain=pem), own


def test_forged_chain_is_not_pinned(captures: Path) -> None:
    evidence, own = forged(captures)
    result = verify_evidence(evidence, now=NOW)
    assert [step.id for step in result.failed] == ["chain.root_pinned"]
    signature = result.step("report.signature")
    assert signature is not None
    assert (signature.verdict, signature.detail) == ("not-checked", "chain.root_pinned failed")
    error = result.failed[0].error
    assert error is not None
    assert own.ark["Milan"] in error.found
    assert AMD_ROOTS.ark["Milan"] in error.expected
    # Whoever trusts the forger's root still finds that its key never signed the report.
    assert [step.id for step in verify_evidence(evidence, now=NOW, roots=own).failed] == ["report.signature"]


def test_genuine_certificates_among_forged_ones(captures: Path) -> None:
    """The right ones are found by signature, whatever else has their names and wherever they stand."""
    evidence, _ = forged(captures)
    real = evidence_of(captures, AZURE)
    fakes = b"".join(item.raw for item in parse_amd_certificates(evidence.chain)[1:])
    genuine = b"".join(item.raw for item in reversed(parse_amd_certificates(real.chain)))
    for chain in (fakes + genuine, genuine + fakes):
        assert verify_evidence(replace(real, chain=chain), now=NOW).verdict == "verified"


def test_whole_pool_of_chains(captures: Path) -> None:
    chain = b"".join(path.read_bytes() for path in sorted((captures / "amd-roots").glob("*.pem")))
    assert verify_evidence(replace(evidence_of(captures, AZURE), chain=chain), now=NOW).verdict == "verified"


def test_swapped_order_is_no_fault(captures: Path) -> None:
    evidence = evidence_of(captures, GENOA)
    chain = b"".join(item.raw for item in reversed(parse_amd_certificates(evidence.chain)))
    assert verify_evidence(replace(evidence, chain=chain), now=NOW).verdict == "verified"


def test_too_many_certificates(captures: Path) -> None:
    evidence = evidence_of(captures, AZURE)
    result = verify_evidence(replace(evidence, chain=evidence.chain * 9), now=NOW)
    assert [step.id for step in result.failed] == ["chain.parse"]


def test_root_not_given(captures: Path) -> None:
    evidence = evidence_of(captures, AZURE)
    result = verify_evidence(without_ark(evidence, captures), now=NOW)
    assert result.verdict == "incomplete"
    missing = result.step("chain.intermediate_signed_by_root")
    assert missing is not None
    assert missing.detail == "no certificate of ARK-Milan was given"


def test_certificate_with_another_serial_loads_alike(captures: Path) -> None:
    """Serial 0 is what AMD writes: the bytes are the ones that are hashed and verified, not a corrected copy."""
    vek = evidence_of(captures, AZURE).vek or b""
    amd = parse_amd_certificates(vek)[0]
    assert amd.raw == vek
    assert amd.serial == 0
    assert amd.tbs in vek
    assert isinstance(amd.view, x509.Certificate)


def test_report_of_a_hex_capture(captures: Path) -> None:
    assert len(report_of(captures, BARE)) == 1184
