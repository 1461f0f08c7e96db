"""What the diagnosis says of a case: findings in order, the right one first."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

from skrkit.diagnosis.cause import Cause
from skrkit.wire import Json, Span

if TYPE_CHECKING:
    from skrkit.policy.evaluate import Decision
    from skrkit.policy.repair import Repair

Certainty = Literal["proved", "likely", "possible"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One cause, and what points to it in this case.

    "proved": the case itself shows it. "likely": the service's words say so, and nothing in the case speaks against.
    "possible": it would look like this, and the case cannot tell. `where` is a JSON pointer, a byte range, a request.
    `fix` and `command` are the cause's with this case's names in them.
    """

    cause: Cause
    certainty: Certainty
    where: str
    expected: str
    found: str
    evidence: tuple[str, ...] = ()
    fix: str = ""
    command: str = ""

    def to_json(self) -> dict[str, Json]:
        """Return the finding as JSON members."""
        return {
            "cause": self.cause.id,
            "leg": self.cause.leg.value,
            "title": self.cause.title,
            "certainty": self.certainty,
            "where": self.where,
            "expected": self.expected,
            "found": self.found,
            "evidence": list(self.evidence),
            "fix": self.fix or self.cause.fix,
            "command": self.command,
            "source": self.cause.source,
            "inferred": self.cause.inferred,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why a release failed: the refusal in the service's words, and the findings, the right one first.

    An empty refusal means that nothing was refused, and the findings are what would be. `decision` is the policy's
    decision tree where policy and claims are known; `repairs` the smallest changes that would make it pass. No finding
    at all is an honest answer: `unknown` then says what would have to be known.
    """

    kind: ClassVar[str] = "explanation"
    title: ClassVar[str] = "Why the release failed"

    refusal: str
    findings: tuple[Finding, ...]
    decision: Decision | None = None
    repairs: tuple[Repair, ...] = ()
    unknown: tuple[str, ...] = ()
    raw: bytes = field(default=b"", repr=False)

    def fields(self) -> dict[str, Json]:
        """Return the explanation as JSON: what `skrkit explain --json` prints."""
        members: dict[str, Json] = {
            "refusal": self.refusal,
            "findings": [finding.to_json() for finding in self.findings],
            "unknown": list(self.unknown),
        }
        if self.decision is not None:
            members["decision"] = self.decision.to_json()
        if self.repairs:
            members["repairs"] = [repair.to_json() for repair in self.repairs]
        return members

    def spans(self) -> tuple[Span, ...]:
        """Return no spans: an explanation is not bytes."""
        return ()
