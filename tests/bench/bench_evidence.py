"""What reading and verifying evidence costs, beside the bare `cryptography` calls that it needs.

The goal: verifying a real report with its chain takes at most 1.5 times the bare calls; an HCL report parses in 50 µs.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from pytest_benchmark.fixture import BenchmarkFixture

from skrkit.attestation.verifier import Evidence, verify_evidence
from skrkit.endorsements import certificate, vek
from skrkit.endorsements.certificate import parse_amd_certificates
from skrkit.evidence.hcl import parse_hcl_report
from skrkit.evidence.snp import parse_snp_report
from tests.attestation.captured import NOW, evidence_of
from tests.bench.beside import beside, measured
from tests.bench.figures import Figures

pytestmark = pytest.mark.bench
ROUNDS = 1000
PSS = padding.PSS(mgf=padding.MGF1(hashes.SHA384()), salt_length=48)


@pytest.fixture(scope="module")
def genoa(captures: Path) -> Evidence:
    return evidence_of(captures, "snp-genoa-v5")


@pytest.fixture(scope="module")
def blob(captures: Path) -> bytes:
    return (captures / "azure-snp-milan-v3" / "hcl-report.bin").read_bytes()


def bare_calls(genoa: Evidence) -> Callable[[], None]:
    """Return three RSA-4096 verifications and one on P-384, with everything parsed beforehand: the floor."""
    leaf, intermediate, root = parse_amd_certificates(genoa.chain)
    report = parse_snp_report(genoa.snp or b"")
    key = leaf.ec_key()
    assert key is not None
    assert isinstance(intermediate.key, rsa.RSAPublicKey)
    assert isinstance(root.key, rsa.RSAPublicKey)
    signature = encode_dss_signature(report.signature_r, report.signature_s)
    by = {"intermediate": intermediate.key, "root": root.key}

    def bare() -> None:
        by["intermediate"].verify(leaf.view.signature, leaf.tbs, PSS, hashes.SHA384())
        by["root"].verify(intermediate.view.signature, intermediate.tbs, PSS, hashes.SHA384())
        by["root"].verify(root.view.signature, root.tbs, PSS, hashes.SHA384())
        key.verify(signature, report.signed, ec.ECDSA(hashes.SHA384()))

    return bare


def bare_calls_that_load_the_chain(genoa: Evidence) -> Callable[[], None]:
    """Return the same four, and the three certificates loaded from PEM with their keys and extensions."""
    report = parse_snp_report(genoa.snp or b"")
    signature = encode_dss_signature(report.signature_r, report.signature_s)

    def bare() -> None:
        leaf, intermediate, root = x509.load_pem_x509_certificates(genoa.chain)
        keys = [item.public_key() for item in (leaf, intermediate, root)]
        assert all(item.extensions for item in (leaf, intermediate, root))
        key, intermediate_key, root_key = keys
        assert isinstance(key, ec.EllipticCurvePublicKey)
        assert isinstance(intermediate_key, rsa.RSAPublicKey)
        assert isinstance(root_key, rsa.RSAPublicKey)
        intermediate_key.verify(leaf.signature, leaf.tbs_certificate_bytes, PSS, hashes.SHA384())
        root_key.verify(intermediate.signature, intermediate.tbs_certificate_bytes, PSS, hashes.SHA384())
        root_key.verify(root.signature, root.tbs_certificate_bytes, PSS, hashes.SHA384())
        key.verify(signature, report.signed, ec.ECDSA(hashes.SHA384()))

    return bare


@pytest.mark.benchmark(group="verify a report with its chain")
def test_bare_cryptography(benchmark: BenchmarkFixture, genoa: Evidence) -> None:
    benchmark(bare_calls(genoa))


@pytest.mark.benchmark(group="verify a report with its chain")
@pytest.mark.filterwarnings("ignore:Parsed a serial number")
def test_bare_cryptography_that_loads_the_chain(benchmark: BenchmarkFixture, genoa: Evidence) -> None:
    benchmark(bare_calls_that_load_the_chain(genoa))


@pytest.mark.figure("verify")
@pytest.mark.benchmark(group="verify a report with its chain")
def test_verify_evidence(benchmark: BenchmarkFixture, genoa: Evidence, figures: Figures) -> None:
    """Beside calls on keys that are parsed beforehand, as the verifier has them of a chain it has seen."""
    assert verify_evidence(genoa, now=NOW).verdict == "verified"
    found = beside(benchmark, lambda: verify_evidence(genoa, now=NOW), bare_calls(genoa), rounds=ROUNDS)
    figures.hand_in("verify", found)


@pytest.mark.figure("verify-new")
@pytest.mark.benchmark(group="verify a report with its chain")
@pytest.mark.filterwarnings("ignore:Parsed a serial number")
def test_verify_evidence_of_a_chain_never_seen(benchmark: BenchmarkFixture, genoa: Evidence, figures: Figures) -> None:
    """The certificates are parsed anew each time, on both sides, as for the first report of a process."""

    def cold() -> None:
        certificate._read.cache_clear()
        vek._read.cache_clear()
        verify_evidence(genoa, now=NOW)

    figures.hand_in("verify-new", beside(benchmark, cold, bare_calls_that_load_the_chain(genoa), rounds=ROUNDS))


@pytest.mark.benchmark(group="verify everything Azure gives")
def test_verify_evidence_of_azure(benchmark: BenchmarkFixture, captures: Path) -> None:
    result = benchmark(verify_evidence, evidence_of(captures, "azure-snp-milan-v3"), now=NOW)
    assert result.verdict == "verified"


@pytest.mark.benchmark(group="parse")
def test_parse_hcl_report(benchmark: BenchmarkFixture, blob: bytes) -> None:
    benchmark(parse_hcl_report, blob)


@pytest.mark.figure("parse-hcl")
@pytest.mark.benchmark(group="parse")
def test_parse_hcl_report_with_all_inside(benchmark: BenchmarkFixture, blob: bytes, figures: Figures) -> None:
    """The headers, the SNP report and the runtime claims with their keys."""

    def whole() -> None:
        report = parse_hcl_report(blob)
        assert report.snp() is not None
        assert report.runtime_claims is not None

    benchmark(whole)
    figures.hand_in("parse-hcl", measured(benchmark))


@pytest.mark.benchmark(group="parse")
def test_parse_snp_report(benchmark: BenchmarkFixture, genoa: Evidence) -> None:
    benchmark(parse_snp_report, genoa.snp or b"")
