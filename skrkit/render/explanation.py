"""Why a release failed, as a view: the refusal, each finding with its proof and its mending, the policy's decision."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from skrkit.diagnosis.cause import Cause
from skrkit.diagnosis.finding import Explanation, Finding
from skrkit.render.decision import view_of_decision
from skrkit.render.view import Block, Row, Rows, View

CERTAINTIES = {
    "proved": "proved: the case itself shows it",
    "likely": "likely: the service's words say so, and nothing in the case speaks against it",
    "possible": "possible: it would look like this, and the case cannot tell",
}


def view_of_explanation(explanation: Explanation) -> View:
    """Return the view of an explanation: the first finding in full, the others below, and what is not known."""
    findings = explanation.findings
    named = findings[:1] if findings and findings[0].certainty != "possible" else ()
    facts = (named[0].cause.id, named[0].certainty) if named else ()
    refused = explanation.refusal
    blocks: list[Block] = [f"Refused with: {refused}" if refused else "Nothing was refused in this case."]
    blocks += [_finding_rows(finding) for finding in named]
    also = [finding for finding in findings[len(named) :] if finding.certainty != "possible"]
    blocks += [View(heading=f"Also: {one.cause.title}", blocks=(_finding_rows(one),)) for one in also]
    blocks += _possible([finding for finding in findings if finding.certainty == "possible"])
    if explanation.decision is not None:
        blocks.append(view_of_decision(explanation.decision.to_json()))
    if explanation.repairs:
        from skrkit.render.policy import view_of_repairs

        blocks.append(view_of_repairs(explanation.repairs))
    if explanation.unknown:
        rows = tuple(Row(name="add", value=text) for text in explanation.unknown)
        blocks.append(Rows(title="What would say more", rows=rows))
    return View(heading=f"{explanation.title}: {_answer(explanation, named)}", facts=facts, blocks=tuple(blocks))


def _answer(explanation: Explanation, named: tuple[Finding, ...]) -> str:
    if named:
        return named[0].cause.title
    if explanation.findings:
        return "one of several, not known which"
    return "not known" if explanation.refusal else "it did not"


def _finding_rows(finding: Finding) -> Rows:
    return Rows(rows=tuple(_rows(finding)))


def _rows(finding: Finding) -> Iterator[Row]:
    cause = finding.cause
    yield Row(name="cause", value=cause.id, note=CERTAINTIES[finding.certainty])
    yield Row(name="why", value=cause.why)
    yield Row(name="where", value=finding.where)
    yield Row(name="expected", value=finding.expected)
    yield Row(name="found", value=finding.found)
    for evidence in finding.evidence:
        yield Row(name="evidence", value=evidence)
    yield Row(name="fix", value=finding.fix or cause.fix)
    if finding.command:
        yield Row(name="command", value=finding.command)
    yield Row(name="source", value=cause.source, note="inferred: no document says it so" if cause.inferred else "")


def _possible(findings: list[Finding]) -> list[Block]:
    if not findings:
        return []
    rows = tuple(
        Row(name=finding.cause.id, value=finding.cause.title, note=finding.fix or finding.cause.fix)
        for finding in findings
    )
    return [Rows(title="It would look the same if", rows=rows)]


def view_of_cause(cause: Cause) -> View:
    """Return the view of one row of the catalogue."""
    named = (
        ("symptom", cause.symptom),
        ("why", cause.why),
        ("fix", cause.fix),
        ("command", cause.command),
    )
    rows = [Row(name=name, value=value) for name, value in named if value]
    if cause.mend:
        mend = cause.mend.format(cause=cause.id)
        rows.append(Row(name="in the sandbox", value=mend, note="while the fault of this name is on"))
    note = "inferred: no document says it so" if cause.inferred else ""
    rows.append(Row(name="source", value=cause.source, note=note))
    return View(heading=cause.title, facts=(cause.id, f"leg: {cause.leg.value}"), blocks=(Rows(rows=tuple(rows)),))


def view_of_catalogue(causes: Iterable[Cause]) -> View:
    """Return the view of the catalogue: each cause with its title, leg by leg in the order of a release."""
    legs: dict[str, list[Row]] = {}
    for cause in causes:
        legs.setdefault(cause.leg.value, []).append(Row(name=cause.id, value=cause.title))
    blocks = tuple(Rows(title=leg, rows=tuple(rows)) for leg, rows in legs.items())
    count = sum(len(rows) for rows in legs.values())
    return View(
        heading="Causes of a failed release", facts=(f"{count} causes", "skrkit explain ID shows one"), blocks=blocks
    )
