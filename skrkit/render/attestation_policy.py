"""Attestation policies as views: what lint remarks, and what a verdict was, rule by rule."""

from __future__ import annotations

from collections.abc import Sequence

from skrkit.attestation_policy.evaluate import Applied, Verdict
from skrkit.attestation_policy.lint import Remark
from skrkit.policy.lint_rules import Severity
from skrkit.render.view import Row, Rows, Step, Steps, View, scalar
from skrkit.render.view import Verdict as Shown

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
