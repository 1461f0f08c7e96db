"""Why a release failed: a case in, findings out, the right one first. Pure: no file, no socket, no clock.

1. The refusal says the leg: a step of skrkit's own, a service's code, its words, or that no answer came.
2. The recognisers of that leg hold the rest of the case against it: what proves a cause, what speaks against it.
3. What the release did not reach is looked at as well, and comes after: it would be the next refusal.

A finding is "proved" only by the case itself; the words of a service alone make it "likely".

The recognisers' patterns are texts, compiled when one is first asked: all of them would take 30 ms, and a process has
150.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from typing import TYPE_CHECKING, TypeAlias

from skrkit.diagnosis.case import Case
from skrkit.diagnosis.finding import Explanation, Finding
from skrkit.diagnosis.reading import Reading
from skrkit.diagnosis.refusal import KEY_READ, Refusal, refusal_of

if TYPE_CHECKING:
    from skrkit.policy.repair import Repair

Recogniser: TypeAlias = Callable[[Reading], Iterator[Finding]]

_RANK = {"proved": 0, "likely": 1, "possible": 2}
_BY_SERVICE = {
    "tpm": ("machine", "network"),
    "imds": ("identity", "network"),
    "entra": ("identity", "network"),
    "arm": ("network", "machine", "access"),
    "kds": ("network",),
    "maa": ("network", "evidence"),
    "vault": ("network", "access_token", "access", "key", "verdict"),
    "hsm": ("network", "access_token", "access", "key", "verdict"),
    "response": ("response",),
    "token": ("token",),
    "report": ("evidence",),
}
_BY_STEP = {"token": "token", "envelope": "token", "release": "response"}
_ALL = ("machine", "identity", "network", "evidence", "access_token", "access", "key", "verdict")


def explain(case: Case) -> Explanation:
    """Return why the release of this case failed: findings, the right one first, and what else would have to be known.

    Never raises for what a case holds: bytes that do not parse are findings or unknown.
    """
    refusal = refusal_of(case)
    reading = Reading(case, refusal or Refusal(error={}))
    first = _ordered(_recognised(reading, _legs(refusal))) if refusal is not None else []
    next_ones = _ordered(_recognised(reading, _later(case), later=True))
    findings = _once([*first, *next_ones])
    return Explanation(
        refusal=str(refusal) if refusal is not None else "",
        findings=tuple(findings),
        decision=reading.decision if _asks_policy(findings) else None,
        repairs=_repairs(reading) if _asks_policy(findings) else (),
        unknown=tuple(_unknown(reading, findings)),
    )


def _legs(refusal: Refusal) -> tuple[str, ...]:
    if refusal.step:
        return (_BY_STEP.get(refusal.step.partition(".")[0], "evidence"),)
    return _BY_SERVICE.get(refusal.service, _ALL)


def _later(case: Case) -> Iterator[str]:
    """Return the legs of which a case can tell something without a refusal."""
    known = {
        "evidence": bool(case.evidence),
        "token": bool(case.token or case.claims or case.token_verdict),
        "key": bool(case.key),
        "policy": bool(case.policy and (case.token or case.claims)),
    }
    return (leg for leg, there in known.items() if there)


def _recognised(reading: Reading, legs: Iterable[str], *, later: bool = False) -> Iterator[Finding]:
    """Return what the recognisers of these legs find. `later`: what the case shows apart from its refusal."""
    for leg in legs:  # a leg's module is loaded when it is asked: most refusals need two
        module = import_module(f"skrkit.diagnosis.explain_{leg}")
        recognise: Recogniser = module.foresee if later else module.recognise
        yield from recognise(reading)


def _ordered(findings: Iterable[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda finding: _RANK[finding.certainty])


def _once(findings: Iterable[Finding]) -> list[Finding]:
    kept: dict[str, Finding] = {}
    for finding in findings:
        kept.setdefault(finding.cause.id, finding)
    return list(kept.values())


def _asks_policy(findings: Iterable[Finding]) -> bool:
    return any(finding.cause.id.startswith("policy.") for finding in findings)


def _repairs(reading: Reading) -> tuple[Repair, ...]:
    if reading.policy is None or not reading.claims or (reading.decision is not None and reading.decision.holds):
        return ()
    from skrkit.policy.repair import repairs

    return tuple(repairs(reading.policy, reading.claims))


def _unknown(reading: Reading, findings: list[Finding]) -> Iterator[str]:
    """Return what would have to be added to say more, where the first finding is not proved."""
    if findings and findings[0].certainty == "proved":
        return
    case, legs = reading.case, {finding.cause.leg.value for finding in findings}
    if not case.exchanges and not case.error:
        yield "What was refused: the answer of the service, with status and body (--response)."
    unread = "; to read the key was refused: skrkit explain access.get-missing" if KEY_READ in case.machine else ""
    wanted = (
        ({"token", "policy"}, not case.token and not case.claims, "The attestation token that was sent (--token)."),
        ({"token"}, case.at is None, "When it happened (--at)."),
        ({"token"}, not case.jwks, "The keys that the provider publishes at /certs (--jwks)."),
        ({"policy"}, not case.policy, f"The key's release policy (--policy){unread}."),
        ({"key"}, not case.key, "The key as the vault shows it: az keyvault key show (--key)."),
        (
            {"access"},
            not case.vault and not reading.in_hsm,
            "The vault as Resource Manager shows it: az keyvault show (--vault).",
        ),
        ({"identity"}, not case.vm, "The VM as Resource Manager shows it: az vm show (--vm)."),
        ({"evidence"}, not case.evidence, "The evidence: skrkit explain --live inside the VM gathers it."),
    )
    for about, missing, words in wanted:
        if missing and (about & legs or not findings):
            yield words
