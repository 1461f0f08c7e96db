"""Attestation policies as views: what lint remarks, what a verdict was, what another would change, and who may sign."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from skrkit.attestation_policy.change import PolicyChange, Trial
from skrkit.attestation_policy.evaluate import Applied, Verdict
from skrkit.attestation_policy.form import policy_hash
from skrkit.attestation_policy.lint import Remark
from skrkit.policy.lint_rules import Severity
from skrkit.render.view import Block, Row, Rows, Step, Steps, View, scalar
from skrkit.render.view import Verdict as Shown

if TYPE_CHECKING:
    from cryptography import x509

_SHOWN: dict[Severity, Shown] = {
    Severity.ERROR: "failed",
    Severity.WARNING: "warning",
    Severity.NOTE: "not-checked",
}


def view_of_remarks(remarks: Sequence[Remark], *, policy_hash: str) -> View:
    """Return the view of a lint: each remark with why and fix, and the hash that tokens will show."""
    count = {severity: sum(remark.severity is severity for remark in remarks) for severity in Severity}
    said = ", ".join(f"{number} {severity.value}{'' if number == 1 else 's'}" for severity, number in count.items())
    steps = tuple(
        Step(
            id=remark.id,
            verdict=_SHOWN[remark.severity],
            detail=f"{remark.where or 'the whole'}\n{remark.what}. {remark.why} ({remark.source})",
            fix=remark.fix,
        )
        for remark in remarks
    )
    return View(
        heading=f"Attestation policy lint: {said}",
        facts=(f"x-ms-policy-hash {policy_hash}",),
        blocks=(Steps(steps=steps) if steps else "Nothing to say.",),
    )


def view_of_verdict(verdict: Verdict) -> View:
    """Return the view of an evaluation: each rule with what came of it, then what the token would get."""
    steps = Steps(steps=tuple(_step(each) for each in verdict.applied), title="Rules")
    rows = [Row(claim.type, scalar(claim.value), "in the token, below x-ms-policy") for claim in verdict.issued]
    rows += [Row(claim.type, scalar(claim.value), "steers the service") for claim in verdict.properties]
    made = [Rows(title="Issued", rows=tuple(rows))] if rows else []
    heading = "permits: a token is made" if verdict.permitted else "does not permit: 400 PolicyEvaluationError"
    why = () if verdict.permitted or verdict.denials else ("no rule permitted",)
    return View(heading=f"The attestation policy {heading}", facts=why, blocks=(steps, *made))


def _step(applied: Applied) -> Step:
    action = applied.rule.action.verb
    at = f"{applied.segment}, line {applied.rule.place.line}"
    if not applied.fired:
        unmet = applied.unmet.place if applied.unmet else applied.rule.place
        return Step(id=action, verdict="skipped", detail=f"{at}: the condition at {unmet} does not hold")
    made = ", ".join(f"{claim.type} = {scalar(claim.value)}" for claim in applied.made)
    detail = f"{at}: {made}" if made else at
    return Step(id=action, verdict="failed" if action == "deny" else "ok", detail=detail)


def view_of_change(change: PolicyChange, *, about: str, result: str) -> View:
    """Return the view of another policy: its lines, and what tokens show of it. `result` is "" where none was sent."""
    rows = [_line_row(line) for line in change.lines()]
    blocks: list[Block] = [Rows(title="Text", rows=tuple(rows)) if rows else "The text is the same, to the last blank."]
    blocks.append(Rows(title="Tokens from now on" if result else "Tokens then", rows=tuple(_token_rows(change))))
    if change.trial is not None:
        blocks.append(Rows(title="The token that was given", rows=tuple(_trial_rows(change.trial))))
    word = {"Updated": "is in force", "Removed": "is the default again"}.get(result, "was not sent")
    return View(heading=f"The attestation policy {word}", facts=(about,), blocks=tuple(blocks))


def _line_row(line: str) -> Row:
    return Row("@@", line[3:-3]) if line.startswith("@@") else Row(line[0].strip() or "=", line[1:])


def view_of_no_reset(before: str, *, about: str) -> View:
    """Return the view of a policy that a reset would take out of force; what comes in its place is not known before."""
    rows = Rows(title="In force", rows=(Row("x-ms-policy-hash", policy_hash(before) if before else "none"),))
    said = "The default would take its place. What that is, the provider says once it is in force."
    return View(heading="The attestation policy stays", facts=(about,), blocks=(rows, said))


def _token_rows(change: PolicyChange) -> list[Row]:
    before, after = change.hashes
    rows = [Row("x-ms-policy-hash", after or "none", "as before" if before == after else f"before: {before or 'none'}")]
    rows += [Row(name, "anew", "below x-ms-policy") for name in change.added()]
    rows += [Row(name, "no longer", "below x-ms-policy") for name in change.removed()]
    if change.issued_before is None or change.issued_after is None:
        rows.append(Row("claims", "not known", "one of the two policies does not parse here"))
    return rows


def _trial_rows(trial: Trial) -> list[Row]:
    rows = []
    for name, verdict in (("before", trial.before), ("after", trial.after)):
        if verdict is None:
            rows.append(Row(name, "cannot be tried", "the policy does not parse here, or cannot be evaluated"))
            continue
        rows.append(Row(name, "a token" if verdict.permitted else "no token: 400 PolicyEvaluationError"))
        rows += [Row(claim.type, scalar(claim.value), depth=1) for claim in verdict.issued]
    return rows


def view_of_signers(provider: str, signers: Sequence[x509.Certificate]) -> View:
    """Return the view of those who may sign a provider's policies."""
    if not signers:
        return View(heading="No policy signers", facts=(provider,), blocks=("Roles alone decide who sets its policy.",))
    named = tuple(Rows(rows=tuple(Row(*pair) for pair in signer_members(each).items())) for each in signers)
    return View(heading=f"Policy signers: {len(signers)}", facts=(provider,), blocks=named)


def signer_members(certificate: x509.Certificate) -> dict[str, str]:
    """Return what a policy signer's certificate is known by."""
    from cryptography.hazmat.primitives import hashes

    return {
        "subject": certificate.subject.rfc4514_string(),
        "thumbprint": certificate.fingerprint(hashes.SHA1()).hex().upper(),  # noqa: S303 - the name that Azure gives it
        "sha256": certificate.fingerprint(hashes.SHA256()).hex(),
        "not_after": certificate.not_valid_after_utc.isoformat(),
    }
