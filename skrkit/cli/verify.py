"""`skrkit verify`: hold a report against its certificates, quote, PCRs and event log, and say what every step says."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from datetime import datetime

    from skrkit.attestation.verifier import AttestationResult
    from skrkit.token.comparison import ClaimComparison
    from skrkit.wire import Json

_SCREEN_LINES = 20
_VERDICTS = {
    "verified": "VERIFIED: every step of this run holds",
    "failed": "FAILED",
    "incomplete": "INCOMPLETE: nothing failed, but a step could not be checked",
    "tdx-report": "NOT VERIFIED: this is an Intel TDX report, and skrkit verifies AMD SEV-SNP",
    "unknown-version": "NOT VERIFIED: the report's version is not known",
    "wrong-kind": "NOT VERIFIED: this is not an SEV-SNP report",
}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "verify",
        help="verify attestation evidence, step by step",
        description="Verify an Azure HCL report or a bare SEV-SNP report. Every step that the files allow is run. "
        "Exit code 0: verified. 3: bytes that do not parse. 4: a step failed, a claim of --token differs, or a step "
        "could not be checked for lack of a certificate, signature or value (then 0 with --partial). Nothing touches "
        "the network without --fetch.",
    )
    parser.add_argument("file", metavar="FILE", help="the report: binary, hex or base64")
    given = parser.add_argument_group("evidence and certificates")
    given.add_argument("--vcek", metavar="F", help="VCEK or VLEK certificate, PEM or DER; may hold its chain too")
    given.add_argument(
        "--chain", metavar="F", action="append", help="other certificates in any order, PEM or DER, or THIM's JSON"
    )
    given.add_argument("--quote", metavar="F", help="TPMS_ATTEST of a TPM quote")
    given.add_argument("--signature", metavar="F", help="the quote's signature: 256 raw bytes or TPMT_SIGNATURE")
    given.add_argument(
        "--ak", metavar="F|hcl", help="attestation key, PEM, DER or TPM2B_PUBLIC (default hcl: that of the report)"
    )
    given.add_argument("--pcrs", metavar="F", help="SHA-256 PCR values: JSON, or the file of tpm2_quote --pcr")
    given.add_argument("--event-log", metavar="F", help="TCG event log")
    given.add_argument(
        "--runtime-data", metavar="F", help="for a bare report: the bytes that REPORT_DATA is the hash of"
    )
    given.add_argument("--nonce", metavar="HEX", help="what the quote, or a bare report, must be made over")
    given.add_argument(
        "--token", metavar="F", help="a token of Azure Attestation, or its claims as JSON: each is recomputed"
    )
    given.add_argument("--key-public", metavar="F", help="TPM2B_PUBLIC of the ephemeral key, for the token's own key")
    given.add_argument("--token-nonce", metavar="TEXT", help="the nonce that the token must echo")
    given.add_argument("--fetch", action="store_true", help="get missing certificates from AMD's key service")
    given.add_argument("--at", metavar="TIME", help="the time to hold certificates against, ISO 8601 (default: now)")
    _add_reference(parser.add_argument_group("reference values"))
    parser.add_argument("--partial", action="store_true", help="exit 0 if nothing failed but steps were not checked")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.set_defaults(func=run)


def _add_reference(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--allow-debug", action="store_true", help="accept a guest that may be debugged")
    group.add_argument("--allow-migration", action="store_true", help="accept a migration agent")
    group.add_argument("--allow-masked-chip", action="store_true", help="accept a VCEK report whose chip id is hidden")
    group.add_argument("--refuse-provisional", action="store_true", help="refuse COMMITTED_TCB below CURRENT_TCB")
    group.add_argument("--vmpl", metavar="N", help="the level that asked for the report, 0 to 3, or any (default 0)")
    group.add_argument("--min-tcb", metavar="NAME=N,...", help="lowest bootloader, tee, snp, microcode, fmc")
    group.add_argument("--min-guest-svn", metavar="N", help="lowest GUEST_SVN")
    group.add_argument("--measurement", metavar="HEX", action="append", help="an allowed MEASUREMENT, 48 bytes")
    group.add_argument("--id-key-digest", metavar="HEX", action="append", help="an allowed ID_KEY_DIGEST, 48 bytes")
    group.add_argument("--chip-id", metavar="HEX", action="append", help="an allowed CHIP_ID, 64 bytes")
    group.add_argument("--host-data", metavar="HEX", help="HOST_DATA, 32 bytes")
    group.add_argument("--report-data", metavar="HEX", help="REPORT_DATA, 64 bytes")
    group.add_argument("--launch-mitigations", metavar="HEX", help="bits that LAUNCH_MIT_VECTOR must have (version 5)")
    group.add_argument("--current-mitigations", metavar="HEX", help="bits that CURRENT_MIT_VECTOR must have")
    group.add_argument("--csp-id", metavar="TEXT", help="cspID of the VLEK")
    group.add_argument("--vm-id", metavar="ID", help="vmUniqueId of the runtime claims")


def run(namespace: argparse.Namespace) -> int:
    """Return 0 verified, 3 unreadable, 4 not verified, having shown every step on stdout."""
    from skrkit.attestation.verifier import Evidence, verify_evidence
    from skrkit.cli.verify_files import compared_claims, completed, given_evidence
    from skrkit.cli.verify_options import reference_of, time_of
    from skrkit.errors import VerificationError

    reference, now = reference_of(namespace), time_of(namespace.at)
    given = given_evidence(namespace)
    if isinstance(given, Evidence):
        evidence = completed(given) if namespace.fetch else given
        result = verify_evidence(evidence, now=now, reference=reference)
        compared = compared_claims(namespace, evidence)
    else:
        result, compared = given, None
    if namespace.json:
        import json

        document = document_of(result, now)
        print(json.dumps(document if compared is None else {**document, "token": compared.fields()}, indent=2))
    else:
        _show(result, compared)
    if compared is not None and compared.of("differs"):
        return result.exit_code or VerificationError.exit_code
    if namespace.partial and result.verdict == "incomplete":
        return 0
    return result.exit_code


def document_of(result: AttestationResult, now: datetime) -> dict[str, Json]:
    """Return the JSON document of a verification: verdict, root, time, steps, notes and the decoded report."""
    report = None if result.report is None else result.report.fields()
    return {**result.fields(), "evaluated_at": now.isoformat(), "report": report}


def _show(result: AttestationResult, compared: ClaimComparison | None = None) -> None:
    from skrkit.render.comparison import view_of_comparison
    from skrkit.render.plain import write
    from skrkit.render.view import View, view_of_steps

    view = view_of_steps(result.steps, title=_VERDICTS[result.verdict])
    notes = tuple(f"Note: {note}" for note in result.notes)
    write(
        View(
            heading=view.heading,
            facts=(*view.facts, f"root: {result.root}"),
            blocks=(
                *view.blocks,
                *notes,
                *([] if compared is None else [view_of_comparison(compared), *_of_token(compared)]),
                *_last_word(result),
            ),
        ),
        sys.stdout,
    )


def _of_token(compared: ClaimComparison) -> tuple[str, ...]:
    """Return what this says of the token, and what it does not: nobody has looked at its signature here."""
    differs = compared.of("differs")
    said = "No claim differs from the evidence."
    if differs:
        said = f"{len(differs)} claims DIFFER: token and evidence are not of one attestation, or one was changed."
    return (f"Token: {said} Its signature was not checked here: anybody can write claims that agree.",)


def _last_word(result: AttestationResult) -> tuple[str, ...]:
    """Return the verdict once more, with the steps that failed, where the heading has left a terminal's screen."""
    if len(result.steps) < _SCREEN_LINES:
        return ()
    failed = [step.id for step in result.steps if step.verdict == "failed"]
    names = f": {', '.join(failed)}" if failed else ""
    return (_VERDICTS[result.verdict] + names,)
