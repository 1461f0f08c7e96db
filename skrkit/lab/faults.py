"""Faults, switched on one at a time: evidence is changed, verified again, and the step that catches it is named."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from skrkit.attestation.result import AttestationResult
from skrkit.attestation.verifier import Evidence, verify_evidence
from skrkit.errors import SkrkitError, UsageError
from skrkit.evidence.hcl import HEADER_BYTES, VARIABLE_DATA, parse_hcl_report
from skrkit.evidence.snp import REPORT_BYTES
from skrkit.lab.chooser import chooser
from skrkit.lab.clock import follow, moment
from skrkit.lab.display import Display, text_of
from skrkit.render.html import box, code, details, heading, live, table, text, verdict
from skrkit.render.html import steps as steps_html
from skrkit.render.view import Step, View, view_of_steps

if TYPE_CHECKING:
    from skrkit.endorsements.roots import TrustRoots

NO_FAULT = "(none)"

FAULTS: Mapping[str, str] = MappingProxyType(
    {
        "measurement": "One bit of MEASUREMENT is flipped: the VM pretends to have booted something else.",
        "debug": "POLICY bit 19 is set: the host may read the guest's memory.",
        "vmpl": "VMPL becomes 3: the report was asked for from outside the paravisor.",
        "report-data": "One bit of REPORT_DATA is flipped: the report vouches for other claims.",
        "chip-id": "One bit of CHIP_ID is flipped: the report is of another processor.",
        "tcb": "The microcode level in REPORTED_TCB is raised by one: older firmware passes for newer.",
        "runtime-claims": "One letter of the runtime claims is changed: the report itself is untouched.",
        "vcek": "One bit of the chip certificate's hwID is flipped: it names another processor.",
        "missing-chain": "The certificates above the chip's are left out.",
        "other-attestation-key": "Another key is named as the attestation key: that of AMD's intermediate certificate.",
        "quote": "One bit of the quote's PCR digest is flipped.",
        "quote-signature": "One bit of the quote's signature is flipped.",
        "old-quote": "The quote is an old one: it answers another nonce than the one that was sent.",
        "pcrs": "One bit of PCR 7, where Secure Boot is measured, is flipped.",
        "event-log": "One digest in the event log is changed.",
        "truncated": "The HCL report is cut off in its middle.",
    }
)


def tampered(
    evidence: Evidence, fault: str, *, now: datetime | None = None, roots: TrustRoots | None = None
) -> tuple[Evidence, AttestationResult]:
    """Return the evidence with a named fault, and what the local verifier says of it. The given one is unchanged.

    `now` (aware) is the moment by the clock of this kernel's world, and `roots` are the sandbox's, when None. Raises
    `UsageError` for an unknown fault, and for one that this evidence has no place for, such as a fault of the quote
    where there is none.
    """
    if fault not in FAULTS:
        raise UsageError(
            what="fault",
            where="lab.tampered()",
            expected=", ".join(FAULTS),
            found=repr(fault),
            fix='Name one of them: lab.tampered(evidence, "measurement").',
        )
    changed = _CHANGES[fault](evidence)
    return changed, _verified(changed, now, roots)


def _verified(evidence: Evidence, now: datetime | None, roots: TrustRoots | None) -> AttestationResult:
    if roots is None:
        roots = _sandbox_roots()
    return verify_evidence(evidence, now=moment(now), roots=roots)


def _sandbox_roots() -> TrustRoots:
    from skrkit.cloud import Cloud

    cloud = Cloud.sandbox()
    follow(cloud.now)
    return cloud.amd_roots()


def tamper(evidence: Evidence, *, now: datetime | None = None, roots: TrustRoots | None = None) -> Display:
    """Return a panel: choose a fault, and see which check catches it. Standing still, it is a table of all faults.

    `now` and `roots` are as for `tampered`.
    """
    if not isinstance(evidence, Evidence):
        raise UsageError(
            what="evidence to tamper with",
            where="lab.tamper()",
            expected="an Evidence",
            found=type(evidence).__name__,
            fix="from skrkit.release.flow import evidence_of; lab.tamper(evidence_of(world.attested.evidence))",
        )
    if roots is None:  # once, and not at each choice
        roots = _sandbox_roots()
    before = _verified(evidence, now, roots)
    outcomes = {name: _outcome(evidence, name, now, roots) for name in FAULTS}
    rows = [(code(name), text(FAULTS[name]), *_caught(outcome)) for name, outcome in outcomes.items()]
    title = heading("Tamper panel", (f"without a fault: {before.verdict}",))
    html = box(title + table(("fault", "what is changed", "verdict", "caught by"), rows))
    lines = tuple(_line(name, outcome) for name, outcome in outcomes.items())
    words = View(heading="Tamper panel", facts=(f"without a fault: {before.verdict}",), blocks=lines)
    return Display(text_of(words), html, lambda: _panel(evidence, before, now, roots))


def _outcome(
    evidence: Evidence, fault: str, now: datetime | None, roots: TrustRoots
) -> AttestationResult | SkrkitError:
    try:
        return tampered(evidence, fault, now=now, roots=roots)[1]
    except SkrkitError as error:  # this evidence has no place for the fault, or is not evidence at all
        return error


def catchers(result: AttestationResult) -> list[str]:
    """Return the ids of the steps that catch what is wrong: those that failed, else those that could not be checked."""
    return [step.id for step in result.failed] or [step.id for step in result.not_checked]


def _caught(outcome: AttestationResult | SkrkitError) -> tuple[str, str]:
    if isinstance(outcome, SkrkitError):
        return "<em>not possible here</em>", text(f"{outcome.what}: expected {outcome.expected}")
    return _mark(outcome), code(", ".join(catchers(outcome)[:3]))


def _mark(result: AttestationResult) -> str:
    if result.verdict == "verified":
        return verdict("ok", "✓ verified")
    return (
        verdict("not-checked", "– incomplete")
        if result.verdict == "incomplete"
        else verdict("failed", f"✗ {result.verdict}")
    )


def _line(name: str, outcome: AttestationResult | SkrkitError) -> str:
    if isinstance(outcome, SkrkitError):
        return f"{name}: not possible here, {outcome.expected} is missing"
    return f"{name}: {FAULTS[name]} {outcome.verdict}, caught by {', '.join(catchers(outcome)[:3]) or 'nothing'}"


def _panel(evidence: Evidence, before: AttestationResult, now: datetime | None, roots: TrustRoots) -> Any:
    import ipywidgets as widgets

    names = [NO_FAULT, *FAULTS]
    shown = widgets.HTML(value=live(outcome_html(NO_FAULT, before)))

    def again(place: int) -> None:
        fault = names[place]
        outcome = _outcome(evidence, fault, now, roots) if place else before
        shown.value = live(outcome_html(fault, outcome))

    return widgets.VBox([widgets.HTML(value=live(heading("Tamper panel"))), chooser(names, "Fault", again), shown])


def outcome_html(fault: str, outcome: AttestationResult | SkrkitError) -> str:
    """Return what became of one fault: the verdict, the steps that caught it, and every other step folded away."""
    said = FAULTS.get(fault, "Nothing is changed.")
    if isinstance(outcome, SkrkitError):
        return f"<p>{text(said)}</p><p>{text(str(outcome))}</p>"
    view = view_of_steps(outcome.steps)
    caught = [_step(step) for step in (*outcome.failed, *outcome.not_checked)]
    first = f" Caught by {code(catchers(outcome)[0])}." if caught else ""
    everything = [_step(step) for step in outcome.steps]
    return (
        f"<p>{text(said)}</p><p>{_mark(outcome)} {text(', '.join(view.facts))}.{first}</p>"
        + (steps_html(caught) if caught else "")
        + details(f"All {len(everything)} steps", steps_html(everything))
    )


def _step(step: Any) -> Step:
    return Step(step.id, step.verdict, step.detail, step.error.fix if step.error is not None else "")


# What each fault changes. Offsets are those of the SNP report, Table 23 of AMD 56860, behind the HCL header.
def _needs(value: bytes | None, what: str) -> bytes:
    if not value:
        raise UsageError(
            what="fault", where="lab.tampered()", expected=what, found="none", fix=f"Give evidence with {what}."
        )
    return value


def _flipped(data: bytes, at: int, mask: int = 1) -> bytes:
    return data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :]


def _report(offset: int, mask: int = 1) -> Callable[[Evidence], Evidence]:
    """Return a change of one byte of the SNP report, in its HCL report or bare."""

    def change(evidence: Evidence) -> Evidence:
        if evidence.hcl is not None:
            return replace(evidence, hcl=_flipped(_sized(evidence.hcl, HEADER_BYTES), HEADER_BYTES + offset, mask))
        return replace(evidence, snp=_flipped(_sized(evidence.snp or b"", 0), offset, mask))

    return change


def _sized(data: bytes, start: int) -> bytes:
    return _needs(data if len(data) >= start + REPORT_BYTES else None, "a whole report")


def _raise_microcode(evidence: Evidence) -> Evidence:
    data = evidence.hcl if evidence.hcl is not None else evidence.snp or b""
    at = (HEADER_BYTES if evidence.hcl is not None else 0) + 0x180 + 7
    level = _sized(data, at - 0x187)[at]
    changed = data[:at] + bytes([(level + 1) & 0xFF]) + data[at + 1 :]
    return replace(evidence, hcl=changed) if evidence.hcl is not None else replace(evidence, snp=changed)


def _edit_claims(evidence: Evidence) -> Evidence:
    """Change the case of one letter inside a claim's value, so that it is JSON as before, of the same length."""
    hcl = _needs(evidence.hcl, "an HCL report")
    claims = parse_hcl_report(hcl).runtime_data
    at = claims.rfind(b'"user-data"')
    at = claims.find(b'"', claims.find(b":", at)) + 1 if at >= 0 else -1
    old = _needs(claims[at : at + 1] if at > 0 else None, "runtime claims with user-data")
    new = b"1" if old == b"0" else b"0"
    where = VARIABLE_DATA + at
    return replace(evidence, hcl=hcl[:where] + new + hcl[where + 1 :])


def _edit_vcek(evidence: Evidence) -> Evidence:
    from cryptography.hazmat.primitives.serialization import Encoding

    from skrkit.endorsements.vek import parse_vek

    vek = parse_vek(_needs(evidence.vek, "a chip certificate"))
    der = vek.certificate.public_bytes(Encoding.DER)
    at = der.find(_needs(vek.hw_id, "a chip certificate with hwID"))
    return replace(evidence, vek=_flipped(der, at))


def _another_key(evidence: Evidence) -> Evidence:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    from skrkit.endorsements.vek import parse_certificates

    _needs(evidence.quote, "a quote")
    first = parse_certificates(_needs(evidence.chain, "a chain"))[0]
    return replace(evidence, ak=first.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def _edit_pcr(evidence: Evidence) -> Evidence:
    pcrs = dict(evidence.pcrs or {})
    index = 7 if 7 in pcrs else min(pcrs, default=-1)
    pcrs[index] = _flipped(_needs(pcrs.get(index), "PCR values"), 0)
    return replace(evidence, pcrs=pcrs)


def _edit_log(evidence: Evidence) -> Evidence:
    from skrkit.evidence.eventlog import parse_event_log

    data = _needs(evidence.event_log, "an event log")
    events = [event for event in parse_event_log(data).events if event.extended and 11 in event.digests]
    at = data.rfind(_needs(events[-1].digests[11] if events else None, "an event log with SHA-256 digests"))
    return replace(evidence, event_log=_flipped(data, at))


def _truncate(evidence: Evidence) -> Evidence:
    hcl = _needs(evidence.hcl, "an HCL report")
    return replace(evidence, hcl=hcl[: HEADER_BYTES + REPORT_BYTES // 2])


def _edit_quote(evidence: Evidence) -> Evidence:
    quote = _needs(evidence.quote, "a quote")
    return replace(evidence, quote=_flipped(quote, len(quote) - 1))


def _edit_signature(evidence: Evidence) -> Evidence:
    signature = _needs(evidence.quote_signature, "a quote's signature")
    return replace(evidence, quote_signature=_flipped(signature, len(signature) - 1))


def _other_nonce(evidence: Evidence) -> Evidence:
    _needs(evidence.quote, "a quote")
    return replace(evidence, nonce=b"another nonce than the one in the quote")


_CHANGES: Mapping[str, Callable[[Evidence], Evidence]] = MappingProxyType(
    {
        "measurement": _report(0x090),
        "debug": _report(0x00A, 0x08),  # bit 19 of a little-endian number is bit 3 of its third byte
        "vmpl": _report(0x030, 0x03),
        "report-data": _report(0x050),
        "chip-id": _report(0x1A0),
        "tcb": _raise_microcode,
        "runtime-claims": _edit_claims,
        "vcek": _edit_vcek,
        "missing-chain": lambda evidence: replace(evidence, chain=b""),
        "other-attestation-key": _another_key,
        "quote": _edit_quote,
        "quote-signature": _edit_signature,
        "old-quote": _other_nonce,
        "pcrs": _edit_pcr,
        "event-log": _edit_log,
        "truncated": _truncate,
    }
)
