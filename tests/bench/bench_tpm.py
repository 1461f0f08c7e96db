"""What the TPM codec, the client and the event log cost, beside the cryptography they stand next to."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from pytest_benchmark.fixture import BenchmarkFixture

from skrkit.evidence.eventlog import parse_event_log
from skrkit.tpm.attest import parse_attest
from skrkit.tpm.client import Tpm
from skrkit.tpm.pcr import PcrSelection, pcr_digest, policy_pcr_digest
from skrkit.tpm.public import parse_public
from skrkit.tpm.templates import ak_template, ephemeral_template

pytestmark = pytest.mark.bench


class Echo:
    """A transport that costs nothing: it always answers with 16 random bytes' worth of zeros."""

    def transceive(self, command: bytes) -> bytes:
        return b"\x80\x01\0\0\0\x1c\0\0\0\0\0\x10" + bytes(16)

    def close(self) -> None:
        pass


@pytest.fixture(scope="module")
def quote(captures: Path) -> bytes:
    return (captures / "azure-vtpm-quote" / "quote-msg.bin").read_bytes()


def test_parse_attest(benchmark: BenchmarkFixture, quote: bytes) -> None:
    benchmark(parse_attest, quote)


def test_attest_spans(benchmark: BenchmarkFixture, quote: bytes) -> None:
    benchmark(parse_attest(quote).spans)


def test_verify_quote_bare(benchmark: BenchmarkFixture, captures: Path, quote: bytes) -> None:
    folder = captures / "azure-vtpm-quote"
    key = load_pem_public_key((folder / "ak.pem").read_bytes())
    assert isinstance(key, rsa.RSAPublicKey)
    signature = (folder / "quote-sig.bin").read_bytes()
    benchmark(key.verify, signature, quote, padding.PKCS1v15(), hashes.SHA256())


def test_parse_public(benchmark: BenchmarkFixture) -> None:
    benchmark(parse_public, ak_template())


def test_public_name(benchmark: BenchmarkFixture) -> None:
    benchmark(parse_public(ak_template()).name)


def test_marshal_ephemeral_template(benchmark: BenchmarkFixture) -> None:
    values = {index: bytes(32) for index in range(8)}
    selection = PcrSelection.of(values)
    benchmark(lambda: ephemeral_template(policy_pcr_digest(selection, pcr_digest(values, selection)), "null"))


def test_client_overhead_of_one_command(benchmark: BenchmarkFixture) -> None:
    benchmark(Tpm(Echo()).get_random, 16)


@pytest.fixture(scope="module")
def event_log(captures: Path) -> bytes:
    return (captures / "gce-snp-eventlog" / "eventlog.bin").read_bytes()


def test_parse_event_log(benchmark: BenchmarkFixture, event_log: bytes) -> None:
    benchmark(parse_event_log, event_log)


def test_replay_event_log(benchmark: BenchmarkFixture, event_log: bytes) -> None:
    benchmark(parse_event_log(event_log).replay)


def test_hash_payloads_again(benchmark: BenchmarkFixture, event_log: bytes) -> None:
    benchmark(parse_event_log(event_log).payload_findings)


@pytest.mark.parametrize("module", ["sys", "dataclasses", "skrkit.tpm.client", "cryptography.x509"])
def test_import(benchmark: BenchmarkFixture, module: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    # From compiled files, as an installed package has them
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment = kept | {"PYTHONPYCACHEPREFIX": str(tmp_path_factory.mktemp("compiled"))}
    command = [sys.executable, "-c", f"import {module}"]
    subprocess.run(command, check=True, env=environment)
    benchmark(subprocess.run, command, check=True, env=environment)
