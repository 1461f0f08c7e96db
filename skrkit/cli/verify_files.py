"""The evidence of `skrkit verify`, from the files it is given, in the forms that tools write them."""

from __future__ import annotations

import base64
import binascii
from dataclasses import replace
from typing import TYPE_CHECKING

from skrkit.attestation.verifier import AttestationResult, Evidence, StepResult
from skrkit.cli.reading import read_input
from skrkit.cli.verify_options import hex_of, usage_error
from skrkit.errors import ParseError

if TYPE_CHECKING:
    import argparse

    from skrkit.evidence.snp import SnpReport
    from skrkit.evidence.tcb import Product
    from skrkit.token.comparison import ClaimComparison
    from skrkit.wire import Json

AK_FROM_REPORT = "hcl"


def given_evidence(namespace: argparse.Namespace) -> Evidence | AttestationResult:
    """Return the evidence, or the result that says FILE is of a kind that is not verified.

    Raises `UsageError` for a file that cannot be read, `ParseError` for PCR values or THIM's JSON that are malformed.
    """
    kind, data = _report(read_input(namespace.file))
    if kind not in ("hcl-report", "snp-report"):
        return _wrong_kind(kind, data)
    vek = None if namespace.vcek is None else _certificates(namespace.vcek)
    pcrs = None if namespace.pcrs is None else _pcrs(read_input(namespace.pcrs), namespace.pcrs)
    return Evidence(
        hcl=data if kind == "hcl-report" else None,
        snp=data if kind == "snp-report" else None,
        vek=vek,
        chain=b"".join(_certificates(path) for path in namespace.chain or ()),
        quote=_optional(namespace.quote),
        quote_signature=_optional(namespace.signature),
        ak=None if namespace.ak in (None, AK_FROM_REPORT) else read_input(namespace.ak),
        pcrs=pcrs,
        event_log=_optional(namespace.event_log),
        nonce=None if namespace.nonce is None else hex_of("--nonce", namespace.nonce),
        runtime_data=_optional(namespace.runtime_data),
    )


def _report(data: bytes) -> tuple[str, bytes]:
    """Return the kind and the bytes of FILE. What is not recognised is left to the verifier, which names the step."""
    from skrkit.inspect.recognise import recognise

    try:
        described = recognise(data).described
    except ParseError:
        bare = _decoded(data)
        return ("hcl-report" if bare.startswith(b"HCLA") else "snp-report"), bare
    return described.kind, described.raw


def _decoded(data: bytes) -> bytes:
    text = b"".join(data.split())
    for decode in (binascii.unhexlify, lambda encoded: base64.b64decode(encoded, validate=True)):
        try:
            return decode(text)
        except ValueError:
            continue
    return data


def _wrong_kind(kind: str, data: bytes) -> AttestationResult:
    error = ParseError(
        what="evidence",
        where="FILE",
        expected="an Azure HCL report or an SEV-SNP report",
        found=f"{kind}, {len(data)} bytes",
        fix="Pass the report as FILE, and what belongs to it by its option; `skrkit inspect` shows this file.",
    )
    step = StepResult("report.parse", "failed", f"expected {error.expected}, found {error.found}", error)
    return AttestationResult(steps=(step,), verdict="wrong-kind", report=None, root="AMD", raw=data)


def _certificates(path: str) -> bytes:
    """Return PEM or DER certificates; of THIM's JSON, the VCEK and its chain as PEM."""
    data = read_input(path)
    if data.lstrip().startswith(b"{"):
        from skrkit.inspect.thim import parse_thim

        thim = parse_thim(data)
        return f"{thim.vcek_cert}\n{thim.certificate_chain}\n".encode()
    if b"-----BEGIN" in data:
        return data + b"\n"
    from skrkit.endorsements.certificate import split_certificates

    try:
        return b"".join(to_pem(item) for item in split_certificates(data, what=path))
    except ParseError:
        if not data:
            raise
        return data  # the verifier says it, as a step


def to_pem(der: bytes) -> bytes:
    """Return a certificate's DER as PEM, as received."""
    return b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(der) + b"-----END CERTIFICATE-----\n"


def _pcrs(data: bytes, path: str) -> dict[int, bytes]:
    if data.lstrip()[:1] in (b"[", b"{"):
        from skrkit.evidence.pcrs import parse_pcrs

        pcrs = parse_pcrs(data)
        if pcrs.bank != "sha256":
            raise usage_error("--pcrs", "values of the sha256 bank", f"{pcrs.bank} in {path}")
        return dict(pcrs.values)
    from skrkit.evidence.tpm2_tools_pcrs import parse_tpm2_tools_pcrs

    return parse_tpm2_tools_pcrs(data)


def completed(evidence: Evidence) -> Evidence:
    """Return the evidence with the certificates that are missing, from AMD's key service or its cache.

    Raises `ServiceError` when AMD does not give them.
    """
    from skrkit.endorsements.certificate import parse_amd_certificates
    from skrkit.services import kds

    report = _snp_of(evidence)
    if report is None:
        return evidence
    certificates = b"".join(part for part in (evidence.vek, evidence.chain) if part)
    names = {item.subject_cn for item in parse_amd_certificates(certificates)} if certificates else set()
    if not names & {"SEV-VCEK", "SEV-VLEK"}:
        evidence = replace(evidence, vek=to_pem(kds.fetch_vcek(report)))
    if not any(name.startswith("ARK-") for name in names):
        chain = kds.fetch_chain(_line(evidence, report), signer=report.signing_key)
        evidence = replace(evidence, chain=evidence.chain + chain)
    return evidence


def _line(evidence: Evidence, report: SnpReport) -> Product:
    """Return the product line: the report's, or that of the VEK for a version 2 report."""
    if report.product is not None:
        return report.product
    from skrkit.endorsements.vek import parse_vek

    product = parse_vek((evidence.vek or b"") + evidence.chain).product
    if product is None:
        raise usage_error("--vcek", "a certificate of Milan, Genoa or Turin", "another product line")
    return product


def _snp_of(evidence: Evidence) -> SnpReport | None:
    from skrkit.evidence.hcl import parse_hcl_report
    from skrkit.evidence.snp import parse_snp_report

    try:
        return (
            parse_hcl_report(evidence.hcl).snp() if evidence.hcl is not None else parse_snp_report(evidence.snp or b"")
        )
    except ParseError:
        return None  # the verifier says it, as a step


def compared_claims(namespace: argparse.Namespace, evidence: Evidence) -> ClaimComparison | None:
    """Return the claims of --token against the evidence, or None without that option.

    Raises `ParseError` for a file that is neither a JWT nor an object of claims.
    """
    if namespace.token is None:
        return None
    from skrkit.token.comparison import ClaimEvidence, compare_claims

    public = namespace.key_public
    return compare_claims(
        _claims(read_input(namespace.token)),
        ClaimEvidence(
            hcl=evidence.hcl or b"",
            snp=evidence.snp or b"",
            runtime_data=evidence.runtime_data or b"",
            quote=evidence.quote or b"",
            pcrs=evidence.pcrs or {},
            event_log=evidence.event_log or b"",
            key_public=b"" if public is None else read_input(public),
            nonce=namespace.token_nonce or "",
        ),
    )


def _claims(data: bytes) -> dict[str, Json]:
    """Return the claims of a compact JWT, of an answer that holds one as `token`, or of an object of claims."""
    from skrkit.encoding import json_object
    from skrkit.token.decode import check_depth, decode_jwt

    text = data.strip()
    if not text.startswith(b"{"):
        return decode_jwt(text).claims
    document = json_object(text, what="token", where="--token")
    check_depth(document, what="token", where="--token")
    if isinstance(token := document.get("token"), str):
        return decode_jwt(token).claims
    claims = document.get("claims")
    return claims if isinstance(claims, dict) else document


def _optional(path: str | None) -> bytes | None:
    return None if path is None else read_input(path)
