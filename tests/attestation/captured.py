"""The captured evidence, put together as each capture's README says."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from skrkit.attestation.verifier import Evidence

CHAIN_OF = {
    "azure-snp-milan-v3": "milan",
    "snp-genoa-v3-model-a0": "genoa",
    "snp-milan-v2-baremetal": "milan",
    "snp-milan-v2-debug": "milan",
    "snp-vlek-milan-v3": "milan_vlek",
}
NONCES = {
    "azure-snp-milan-v3": bytes.fromhex(
        "982f5c6e45df0ed3f10b6f60b02f0c8390e281300f3805e2279c16168cd6ae9aa398f647caa2338748cd0fd9f5f819ef"
    ),
    "azure-snp-milan-v2": b"challenge",
}
NAMES = (
    "aci-snp-milan-v2",
    "azure-snp-hcl-vcek-mismatch",
    "azure-snp-milan-v2",
    "azure-snp-milan-v3",
    "azure-tdx-hcl",
    "snp-genoa-v3-model-a0",
    "snp-genoa-v5",
    "snp-milan-v2-baremetal",
    "snp-milan-v2-debug",
    "snp-vlek-milan-v3",
)
NOW = datetime(2026, 11, 24, tzinfo=UTC)


def expected_of(captures: Path, name: str) -> dict[str, Any]:
    """Return what an independent decoder made of the capture."""
    document: dict[str, Any] = json.loads((captures / name / "expected.json").read_text())
    return document


def evaluated_at(captures: Path, name: str) -> datetime:
    """Return the time that the capture's checks were evaluated at."""
    return datetime.fromisoformat(expected_of(captures, name)["evaluated_at"])


def report_of(captures: Path, name: str) -> bytes:
    """Return the bare SNP report of a capture that has one."""
    path = captures / name / "report.bin"
    return path.read_bytes() if path.exists() else bytes.fromhex((captures / name / "report.hex").read_text())


def certificates_of(captures: Path, name: str) -> tuple[bytes | None, bytes]:
    """Return the VEK and the chain of a capture; the VEK stands in the chain where the capture has it so."""
    folder = captures / name
    for vek in ("vcek.der", "vlek.der"):
        if (folder / vek).exists():
            return (folder / vek).read_bytes(), (captures / "amd-roots" / f"{CHAIN_OF[name]}.pem").read_bytes()
    chain = folder / "vcek-chain.pem"
    return None, chain.read_bytes() if chain.exists() else b""


def pcrs_of(captures: Path, name: str) -> dict[int, bytes]:
    """Return the SHA-256 PCR values of a capture."""
    values = json.loads((captures / name / "pcrs-sha256.json").read_text())
    return {index: bytes.fromhex(value) for index, value in enumerate(values)}


def evidence_of(captures: Path, name: str) -> Evidence:
    """Return everything that a capture holds, as the verifier takes it."""
    folder = captures / name
    vek, chain = certificates_of(captures, name)
    hcl = folder / "hcl-report.bin"
    quoted = (folder / "quote-msg.bin").exists()
    return Evidence(
        hcl=hcl.read_bytes() if hcl.exists() else None,
        snp=None if hcl.exists() else report_of(captures, name),
        vek=vek,
        chain=chain,
        quote=(folder / "quote-msg.bin").read_bytes() if quoted else None,
        quote_signature=(folder / "quote-sig.bin").read_bytes() if quoted else None,
        pcrs=pcrs_of(captures, name) if quoted else None,
        nonce=NONCES.get(name),
    )
