"""A token's claims against the evidence they were made of: each recomputed where it can be. Pure, and no trust.

This says whether a token and evidence belong together. It does not say that either is genuine: `verify_token` does for
the token, `verify_evidence` for the evidence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

from skrkit.token.catalogue import TEE, explain_claim
from skrkit.token.claim_fact import ONLY_MAA
from skrkit.token.recompute_boot import guest_claims
from skrkit.token.recompute_hardware import TYPE, hardware_claims
from skrkit.token.recompute_runtime import (
    RUNTIME,
    guest_runtime_claims,
    leaves,
    paravisor_claims,
    rebuilt_report_data,
)
from skrkit.token.recomputed import Answer, ClaimEvidence, NotRecomputed, Recomputed
from skrkit.wire import Json, Span, pointer

__all__ = ["ClaimComparison", "ClaimEvidence", "ComparedClaim", "compare_claims"]

ClaimVerdict: TypeAlias = Literal["agrees", "differs", "only-maa-knows", "not-checked", "unknown"]

GUEST_TYPE = "azurevm"
_REPORT_DATA = "x-ms-sevsnpvm-reportdata"
_GUID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
# Claims with a source that is no evidence.
_NO_EVIDENCE = {
    "iss": "the provider that was asked: the token's signature shows it",
    "iat": "the service's clock",
    "nbf": "the service's clock",
    "exp": "the service's clock: iat + 28800",
    "x-ms-inittime": "the service copies it from the request",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedClaim:
    """One claim: `pointer` into the claims, its verdict, what the token says and what the evidence says.

    "agrees" and "differs": recomputed. "only-maa-knows": no evidence holds it. "not-checked": some evidence would, and
    it is not at hand or not readable. "unknown": no claim that skrkit knows, so nothing is said of it. `present` is
    False where the evidence has something that the token leaves out. `source` is the field that the value comes from.
    """

    pointer: str
    verdict: ClaimVerdict
    found: Json = None
    present: bool = True
    expected: Json = None
    source: str = ""
    why: str = ""
    inferred: bool = False

    def to_json(self) -> dict[str, Json]:
        """Return the claim as JSON members; `expected` only where it was recomputed."""
        members: dict[str, Json] = {"pointer": self.pointer, "verdict": self.verdict}
        if self.present:
            members["found"] = self.found
        if self.verdict in ("agrees", "differs"):
            members["expected"] = self.expected
        for name, text in (("source", self.source), ("why", self.why)):
            if text:
                members[name] = text
        if self.inferred:
            members["inferred"] = True
        return members


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimComparison:
    """Every claim of a token, in the token's order, and what was compared beyond single claims."""

    kind: ClassVar[str] = "claim-comparison"
    title: ClassVar[str] = "Token against evidence"

    claims: tuple[ComparedClaim, ...]
    notes: tuple[str, ...] = ()
    raw: bytes = b""

    def of(self, verdict: ClaimVerdict) -> tuple[ComparedClaim, ...]:
        """Return the claims of one verdict, in order."""
        return tuple(claim for claim in self.claims if claim.verdict == verdict)

    def claim(self, at: str) -> ComparedClaim | None:
        """Return what was said of the claim at that JSON pointer, or None."""
        return next((claim for claim in self.claims if claim.pointer == at), None)

    def counts(self) -> dict[str, int]:
        """Return how many claims have each verdict."""
        verdicts: tuple[ClaimVerdict, ...] = ("agrees", "differs", "only-maa-knows", "not-checked", "unknown")
        return {verdict: len(self.of(verdict)) for verdict in verdicts}

    def fields(self) -> dict[str, Json]:
        """Return the counts, every claim, and the notes."""
        return {
            "counts": dict(self.counts()),
            "claims": [claim.to_json() for claim in self.claims],
            "notes": list(self.notes),
        }

    def spans(self) -> tuple[Span, ...]:
        """Return no spans: a comparison is not bytes."""
        return ()


def compare_claims(claims: Mapping[str, Json], evidence: ClaimEvidence) -> ClaimComparison:
    """Return each claim of a guest or platform token with what the raw evidence says of it.

    `claims` are the token's, verified or not. Bad evidence never raises: what does not parse recomputes nothing, and
    says why. No claim is left out, and one that is not in the catalogue is "unknown".
    Source: Azure Attestation, claim sets, as far as they say where a claim comes from; the rest is marked inferred.
    """
    is_guest = TEE in claims or claims.get(TYPE) == GUEST_TYPE
    hardware = hardware_claims(evidence)
    compared: list[ComparedClaim] = []
    notes: list[str] = []
    if is_guest:
        tables = {**dict.fromkeys(hardware, _BELOW), **guest_claims(evidence)}
        tables[TYPE] = NotRecomputed("the endpoint that was called", only_maa=True)
        compared += _members(claims, "", tables, guest_runtime_claims(evidence))
        below = claims.get(TEE)
        if isinstance(below, Mapping):
            compared += _members(below, pointer(TEE), hardware, paravisor_claims(evidence))
            notes += [*_bound(below), *_left_out(below, hardware)]
    else:
        asked = {"nonce": _platform_nonce(evidence.nonce)}
        compared += _members(claims, "", {**hardware, **asked}, paravisor_claims(evidence))
        notes += [*_bound(claims), *_left_out(claims, hardware)]
    return ClaimComparison(claims=tuple(compared), notes=tuple(notes))


_BELOW = NotRecomputed("in a guest token this claim stands below x-ms-isolation-tee, and here nothing vouches for it")


def _platform_nonce(nonce: str) -> Answer:
    if not nonce:
        return NotRecomputed("the nonce that was asked for was not given")
    return Recomputed(value=nonce, source="the nonce that was asked for")


def _members(
    claims: Mapping[str, Json], base: str, answers: Mapping[str, Answer], runtime: Mapping[str, Answer] | NotRecomputed
) -> Iterator[ComparedClaim]:
    """Return the claims of one level. `x-ms-runtime` goes into its own comparison, the hardware's into the caller's."""
    for name, value in claims.items():
        at = base + pointer(name)
        if name == RUNTIME:
            yield from _runtime(value, at, runtime)
        elif not (name == TEE and not base and isinstance(value, Mapping)):
            yield _compared(name if not base else f"{TEE}.{name}", at, value, answers.get(name))


def _compared(path: str, at: str, value: Json, answer: Answer | None) -> ComparedClaim:
    if isinstance(answer, Recomputed):
        return _judged(at, value, answer)
    fact = explain_claim(path)
    if fact is None:
        return ComparedClaim(pointer=at, verdict="unknown", found=value, why="not in the catalogue of claims")
    if fact.path in _NO_EVIDENCE:
        return ComparedClaim(pointer=at, verdict="only-maa-knows", found=value, why=_NO_EVIDENCE[fact.path])
    if answer is None or fact.evidence == ONLY_MAA or answer.only_maa:
        why = answer.why if answer is not None and answer.only_maa else "the service's own statement"
        return ComparedClaim(pointer=at, verdict="only-maa-knows", found=value, why=why)
    return ComparedClaim(pointer=at, verdict="not-checked", found=value, source=fact.evidence, why=answer.why)


def _judged(at: str, found: Json, answer: Recomputed) -> ComparedClaim:
    agrees = answer.agrees(found)
    why = ""
    if not agrees and _swapped(found) == str(answer.value).lower():
        why = "the same id with its first three groups in the other byte order"
    return ComparedClaim(
        pointer=at,
        verdict="agrees" if agrees else "differs",
        found=found,
        expected=answer.value,
        source=answer.source,
        why=why,
        inferred=answer.inferred,
    )


def _swapped(guid: Json) -> str | None:
    """Return a GUID with its first three groups in the other byte order, as SMBIOS and Windows disagree on them."""
    if not isinstance(guid, str) or _GUID.fullmatch(guid) is None:
        return None
    groups = guid.lower().split("-")
    return "-".join([bytes.fromhex(group)[::-1].hex() for group in groups[:3]] + groups[3:])


def _runtime(value: Json, base: str, answers: Mapping[str, Answer] | NotRecomputed) -> Iterator[ComparedClaim]:
    """Return each leaf of an `x-ms-runtime`; keys are found by kid, and pointers are those of the token."""
    told = dict(leaves(value))
    places = _places(value)
    known = {} if isinstance(answers, NotRecomputed) else answers
    for name, found in told.items():
        answer = answers if isinstance(answers, NotRecomputed) else answers.get(name) or _of_relatives(name, answers)
        at = base + _in_token(name, places)
        if isinstance(answer, Recomputed):
            yield _judged(at, found, answer)
        elif answer is not None:
            yield ComparedClaim(pointer=at, verdict="not-checked", found=found, why=answer.why)
        elif found not in ({}, []) or not any(other.startswith(f"{name}/") for other in known):
            yield ComparedClaim(pointer=at, verdict="differs", found=found, why="the evidence has no such member")
    for name, answer in known.items():
        if name not in told and isinstance(answer, Recomputed):
            yield ComparedClaim(
                pointer=base + _in_token(name, places),
                verdict="differs",
                present=False,
                expected=answer.value,
                source=answer.source,
                why="the token leaves it out",
            )


def _of_relatives(name: str, answers: Mapping[str, Answer]) -> NotRecomputed | None:
    """Return why the nearest object above a leaf could not be recomputed; None where it could, and lacks the leaf."""
    while name:
        name = name.rpartition("/")[0]
        related = [answer for other, answer in answers.items() if other.startswith(f"{name}/")]
        if related:
            return next((answer for answer in related if isinstance(answer, NotRecomputed)), None)
    return None


def _places(value: Json) -> dict[str, int]:
    keys = value.get("keys") if isinstance(value, Mapping) else None
    places: dict[str, int] = {}
    for place, key in enumerate(keys if isinstance(keys, list) else ()):
        kid = key.get("kid") if isinstance(key, Mapping) else None
        if isinstance(kid, str):
            places.setdefault(kid, place)
    return places


def _in_token(name: str, places: Mapping[str, int]) -> str:
    for kid, place in places.items():
        prefix = f"/keys{pointer(kid)}/"
        if name.startswith(prefix):
            return f"/keys/{place}/{name.removeprefix(prefix)}"
    return name


def _bound(claims: Mapping[str, Json]) -> list[str]:
    """Return a note on whether the token's own runtime claims lead to the REPORT_DATA it names."""
    runtime = claims.get(RUNTIME)
    rebuilt = rebuilt_report_data(runtime) if isinstance(runtime, Mapping) else None
    if rebuilt is None or _REPORT_DATA not in claims:
        return []
    if rebuilt == claims[_REPORT_DATA]:
        return [f"{RUNTIME}, written as the paravisor writes it, hashes to {_REPORT_DATA}: the token binds its keys."]
    said = f"{RUNTIME}, written again, does not hash to {_REPORT_DATA}. Newer paravisors write members in another"
    return [f"{said} order, so this proves nothing; the HCL report has the very bytes."]


def _left_out(claims: Mapping[str, Json], hardware: Mapping[str, Answer]) -> list[str]:
    """Return a note on what the report says and the token does not: a relying party cannot ask for it."""
    names = [name for name, answer in hardware.items() if isinstance(answer, Recomputed) and name not in claims]
    return [f"The evidence has these, and the token does not say them: {', '.join(names)}."] if names else []
