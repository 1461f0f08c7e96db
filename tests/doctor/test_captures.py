"""Truth from outside: the checks of the evidence, held against what real machines said of themselves."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from ssl import DER_cert_to_PEM_cert
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509

from skrkit.cloud import Cloud
from skrkit.doctor import evidence, machine
from skrkit.doctor.check import Check, Outcome
from skrkit.doctor.host import Host
from skrkit.doctor.visit import Names, Visit
from skrkit.evidence.hcl import parse_hcl_report
from skrkit.services.attester import AK_CERTIFICATE_INDEX, HCL_REPORT_INDEX, USER_DATA_INDEX
from tests.attestation.captured import NONCES, NOW, certificates_of, pcrs_of

HOST = Host(system="Linux", architecture="x86_64", tpm="/dev/tpmrm0")
MILAN_2025 = "azure-snp-milan-v3"


@dataclass
class RealBytes:
    """A vTPM that has what a real one had in its NV indexes. It takes user data, and goes on showing the old report."""

    nv: dict[int, bytes]
    ak: tuple[int, int] = (0, 0)
    written: list[tuple[int, bytes]] = field(default_factory=list)

    def nv_read_public(self, index: int) -> Any:
        return SimpleNamespace(data_size=len(self.nv[index]))

    def nv_read(self, index: int) -> bytes:
        return self.nv[index]

    def nv_write(self, index: int, data: bytes) -> None:
        self.written.append((index, data))

    def read_public(self, _handle: int) -> Any:
        return SimpleNamespace(rsa_numbers=lambda: self.ak)


def visit_of(nv: dict[int, bytes], **more: Any) -> Visit:
    cloud = replace(Cloud.azure(), now=lambda: NOW, tpm_spec="swtpm:")
    visit = Visit(host=HOST, names=Names(), inside=cloud)
    visit._attester = SimpleNamespace(tpm=RealBytes(nv={USER_DATA_INDEX: bytes(64), **nv}, **more))  # type: ignore[assignment]
    return visit


def run(checks: tuple[Check, ...], check_id: str, visit: Visit) -> Outcome:
    (check,) = (check for check in checks if check.id == check_id)
    return check.run(visit)


def blob(captures: Path, name: str) -> bytes:
    return (captures / name / "hcl-report.bin").read_bytes()


@pytest.mark.parametrize("name", ["azure-snp-milan-v2", MILAN_2025, "azure-snp-hcl-vcek-mismatch"])
def test_a_real_snp_vm_is_known_as_one(captures: Path, name: str) -> None:
    found = run(machine.CHECKS, "machine.kind", visit_of({HCL_REPORT_INDEX: blob(captures, name)}))
    assert (found.verdict, found.facts["kind"]) == ("ok", "SNP")


def test_a_real_tdx_vm_is_known_as_one(captures: Path) -> None:
    found = run(machine.CHECKS, "machine.kind", visit_of({HCL_REPORT_INDEX: blob(captures, "azure-tdx-hcl")}))
    assert (found.verdict, found.cause) == ("failed", "machine.tdx")


def test_a_trusted_launch_vm_has_a_report_without_hardware(captures: Path) -> None:
    raw = bytearray(blob(captures, MILAN_2025))
    raw[0x4C8:0x4CC] = (3).to_bytes(4, "little")  # TVM. Source: openvmm, igvm attest
    found = run(machine.CHECKS, "machine.kind", visit_of({HCL_REPORT_INDEX: bytes(raw)}))
    assert (found.verdict, found.cause) == ("failed", "machine.trusted-launch")


def test_an_index_that_holds_something_else_is_named(captures: Path) -> None:
    found = run(machine.CHECKS, "machine.kind", visit_of({HCL_REPORT_INDEX: b"HCLB" + bytes(2596)}))
    assert (found.verdict, found.cause) == ("failed", "evidence.report-tampered")


def test_an_old_report_is_stale_however_long_one_waits(captures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("skrkit.doctor.evidence.time.sleep", waits.append)
    visit = visit_of({HCL_REPORT_INDEX: blob(captures, MILAN_2025)})
    found = run(evidence.REPORT_CHECKS, "report.fresh", visit)
    assert (found.verdict, found.cause) == ("failed", "evidence.report-stale")
    assert waits == [2.2]
    written: list[tuple[int, bytes]] = visit.attester.tpm.written  # type: ignore[attr-defined]
    assert [(index, len(data)) for index, data in written] == [(USER_DATA_INDEX, 64)]


def endorsed(captures: Path, name: str, vek: bytes, chain: bytes, monkeypatch: pytest.MonkeyPatch) -> Outcome:
    certificates = {"vcekCert": vek.decode(), "certificateChain": chain.decode(), "tcbm": ""}
    monkeypatch.setattr("skrkit.services.imds.fetch_thim_certificates", lambda _cloud: certificates)
    visit = visit_of({HCL_REPORT_INDEX: blob(captures, name)})
    visit.hcl = parse_hcl_report(blob(captures, name))
    return run(evidence.ENDORSEMENT_CHECKS, "report.endorsed", visit)


def test_a_real_report_is_endorsed_by_its_real_certificates_under_amds_root(
    captures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    der, chain = certificates_of(captures, MILAN_2025)
    assert der is not None
    pem = DER_cert_to_PEM_cert(der).encode()
    found = endorsed(captures, MILAN_2025, pem, chain, monkeypatch)
    assert found.verdict == "ok", found
    assert (found.facts["root"], str(found.facts["product"]).lower()) == ("AMD", "milan")


def test_the_real_certificate_of_before_a_firmware_update_is_named(
    captures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = certificates_of(captures, "azure-snp-hcl-vcek-mismatch")[1]
    vek, _, rest = whole.partition(b"-----END CERTIFICATE-----\n")
    found = endorsed(captures, "azure-snp-hcl-vcek-mismatch", vek + b"-----END CERTIFICATE-----\n", rest, monkeypatch)
    assert found.verdict == "failed"
    assert found.cause in ("evidence.vcek-other-chip", "evidence.vcek-old-tcb"), found
    assert "report.signature" in str(found.facts["failed_steps"])


def test_a_missing_chain_is_no_pass(captures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    der, _ = certificates_of(captures, MILAN_2025)
    assert der is not None
    pem = DER_cert_to_PEM_cert(der).encode()
    assert endorsed(captures, MILAN_2025, pem, b"", monkeypatch).verdict in ("failed", "not-checked")


def quoted(captures: Path, monkeypatch: pytest.MonkeyPatch, *, nonce: bytes) -> Outcome:
    folder = captures / MILAN_2025
    pair = ((folder / "quote-msg.bin").read_bytes(), (folder / "quote-sig.bin").read_bytes())
    visit = visit_of({HCL_REPORT_INDEX: blob(captures, MILAN_2025)})
    visit.hcl, visit.pcrs = parse_hcl_report(blob(captures, MILAN_2025)), pcrs_of(captures, MILAN_2025)
    visit.attester.pcrs = tuple(range(24))  # type: ignore[misc]  # what this quote was made over
    visit.attester.tpm.quote = lambda *_a: pair  # type: ignore[method-assign]  # the real one, whatever is asked
    monkeypatch.setattr("skrkit.doctor.evidence.hashlib.sha256", lambda _data: SimpleNamespace(digest=lambda: nonce))
    return run(evidence.TPM_CHECKS, "quote.holds", visit)


def test_a_real_quote_holds_over_its_own_nonce_and_over_no_other(
    captures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert quoted(captures, monkeypatch, nonce=NONCES[MILAN_2025]).verdict == "ok"
    monkeypatch.undo()
    replayed = quoted(captures, monkeypatch, nonce=bytes(32))
    assert replayed.verdict == "failed"
    assert replayed.facts["failed_steps"] == ["quote.nonce"]


def test_a_real_ak_certificate_of_another_vm_is_not_this_vtpms(captures: Path) -> None:
    raw = blob(captures, MILAN_2025)
    own = parse_hcl_report(raw).runtime_claims.key("HCLAkPub").public_numbers()
    foreign = (captures / "azure-trusted-launch-vtpm" / "akcert.der").read_bytes()
    dates = x509.load_der_x509_certificate(foreign)
    visit = visit_of({AK_CERTIFICATE_INDEX: foreign}, ak=own)
    assert visit.inside is not None
    visit.inside = replace(visit.inside, now=lambda: dates.not_valid_before_utc)
    visit.hcl = parse_hcl_report(raw)
    found = run(evidence.TPM_CHECKS, "ak.certificate", visit)
    assert (found.verdict, found.cause) == ("failed", "evidence.ak-certificate")
    assert "of another key than the one at 0x81000003" in found.evidence


def test_the_paravisors_word_alone_does_not_make_secure_boot_ok(captures: Path) -> None:
    visit = visit_of({})
    visit.hcl = parse_hcl_report(blob(captures, MILAN_2025))
    claimed = visit.hcl.runtime_claims.vm_configuration["secure-boot"]
    found = run(evidence.TPM_CHECKS, "secure-boot.on", visit)
    assert found.verdict == ("not-checked" if claimed else "failed")
    assert found.facts == {"paravisor_says": claimed, "log_says": None}
