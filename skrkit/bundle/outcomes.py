"""What the checks say of a case: verification of evidence and token, claims, policy decision, explanation. Pure.

The same functions make the outcomes that a bundle records and those that `replay` holds against them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from skrkit.errors import SkrkitError
from skrkit.wire import Json

if TYPE_CHECKING:
    from skrkit.diagnosis.case import Case


def _evidence(case: Case) -> dict[str, Json]:
    from skrkit.diagnosis.verification import verified_evidence

    result = verified_evidence(case)
    return {} if result is None else result.fields()


def _token(case: Case) -> dict[str, Json]:
    """Return what the verification of the signed token says, or what was recorded of it where it was left out."""
    from skrkit.diagnosis.verification import token_verdict

    if case.token:
        return token_verdict(case)
    return {**case.token_verdict, "recorded": True} if case.token_verdict else {}


def _claims(case: Case) -> dict[str, Json]:
    from skrkit.diagnosis.verification import compared_claims

    compared = compared_claims(case)
    return {} if compared is None else compared.fields()


def _decision(case: Case) -> dict[str, Json]:
    from skrkit.diagnosis.verification import claims_of
    from skrkit.policy.evaluate import evaluate
    from skrkit.policy.parse import parse_policy

    claims = claims_of(case)
    if not case.policy or not claims:
        return {}
    return evaluate(parse_policy(case.policy), claims).to_json()


def _explanation(case: Case) -> dict[str, Json]:
    from skrkit.diagnosis.explain import explain

    if not case.error and not case.exchanges:
        return {}
    return explain(case).fields()


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check that can be run again: its name, what it says in words, and how it is run on a case."""

    name: str
    title: str
    run: Callable[[Case], dict[str, Json]]


CHECKS = (
    Check(name="evidence", title="Local verification of the evidence", run=_evidence),
    Check(name="token", title="Verification of the attestation token", run=_token),
    Check(name="claims", title="Token against evidence", run=_claims),
    Check(name="decision", title="The release policy's decision", run=_decision),
    Check(name="explanation", title="Why the release failed", run=_explanation),
)


def outcomes_of(case: Case) -> dict[str, dict[str, Json]]:
    """Return what each check says of the case at its time, by name; a check that has nothing to look at is left out.

    A check that cannot run has its error as outcome.
    """
    made: dict[str, dict[str, Json]] = {}
    for check in CHECKS:
        try:
            outcome = check.run(case)
        except SkrkitError as error:
            outcome = {"failed": dict(error.to_json())}
        if outcome:
            made[check.name] = outcome
    return made


def essence(name: str, outcome: Mapping[str, Json]) -> dict[str, Json]:
    """Return what an outcome decides, without its wording: verdicts by step, by claim, by clause, causes in order."""
    if "failed" in outcome and isinstance(outcome["failed"], dict):
        failed = outcome["failed"]
        return {"error": failed.get("error"), "what": failed.get("what"), "step": failed.get("step")}
    return dict(_ESSENCES[name](outcome))


def _of_evidence(outcome: Mapping[str, Json]) -> Iterator[tuple[str, Json]]:
    yield from ((member, outcome.get(member)) for member in ("verdict", "root"))
    for step in _rows(outcome.get("steps")):
        yield f"step {step.get('id')}", step.get("verdict")


def _of_token(outcome: Mapping[str, Json]) -> Iterator[tuple[str, Json]]:
    yield from ((member, outcome.get(member)) for member in ("verdict", "step", "key_id") if member in outcome)


def _of_claims(outcome: Mapping[str, Json]) -> Iterator[tuple[str, Json]]:
    for claim in _rows(outcome.get("claims")):
        yield f"claim {claim.get('pointer')}", claim.get("verdict")


def _of_decision(outcome: Mapping[str, Json]) -> Iterator[tuple[str, Json]]:
    yield f"clause {outcome.get('pointer')}", outcome.get("holds")
    for child in _rows(outcome.get("children")):
        yield from _of_decision(child)


def _of_explanation(outcome: Mapping[str, Json]) -> Iterator[tuple[str, Json]]:
    for place, finding in enumerate(_rows(outcome.get("findings")), start=1):
        yield f"finding {place}", f"{finding.get('cause')}, {finding.get('certainty')}"


_ESSENCES: Mapping[str, Callable[[Mapping[str, Json]], Iterator[tuple[str, Json]]]] = {
    "evidence": _of_evidence,
    "token": _of_token,
    "claims": _of_claims,
    "decision": _of_decision,
    "explanation": _of_explanation,
}


def _rows(value: Json) -> list[dict[str, Json]]:
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []
