"""What another policy would change: line by line, and in the tokens that a provider makes under it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass

from skrkit.attestation_policy.claims import incoming_claims
from skrkit.attestation_policy.evaluate import Verdict, evaluate
from skrkit.attestation_policy.form import policy_hash
from skrkit.attestation_policy.model import Literal
from skrkit.attestation_policy.parse import parse_attestation_policy
from skrkit.errors import PolicyError
from skrkit.wire import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What the two policies say of one token's claims. None stands for a policy that cannot be tried."""

    before: Verdict | None
    after: Verdict | None

    def to_json(self) -> dict[str, Json]:
        """Return both verdicts as JSON members."""
        return {name: None if verdict is None else verdict.to_json() for name, verdict in self._named()}

    def _named(self) -> tuple[tuple[str, Verdict | None], ...]:
        return (("before", self.before), ("after", self.after))


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyChange:
    """Two policies, the first in force, each "" for none.

    `issued_before` and `issued_after` are the claims that issuance rules name; None where a policy does not parse.
    """

    before: str
    after: str
    issued_before: tuple[str, ...] | None
    issued_after: tuple[str, ...] | None
    trial: Trial | None = None

    @property
    def hashes(self) -> tuple[str | None, str | None]:
        """The `x-ms-policy-hash` of tokens before and after."""
        before, after = (policy_hash(text) if text else None for text in (self.before, self.after))
        return before, after

    def lines(self) -> tuple[str, ...]:
        """Return the difference of the texts in the unified form, without its head; empty where there is none."""
        found = difflib.unified_diff(self.before.splitlines(), self.after.splitlines(), lineterm="", n=3)
        return tuple(found)[2:]

    def added(self) -> tuple[str, ...]:
        """Return the claims that tokens may have anew below `x-ms-policy`."""
        return tuple(name for name in self.issued_after or () if name not in (self.issued_before or ()))

    def removed(self) -> tuple[str, ...]:
        """Return the claims that tokens no longer have there."""
        return tuple(name for name in self.issued_before or () if name not in (self.issued_after or ()))

    def to_json(self) -> dict[str, Json]:
        """Return the change as JSON members."""
        before, after = self.hashes
        return {
            "before": {"policy": self.before, "x-ms-policy-hash": before},
            "after": {"policy": self.after, "x-ms-policy-hash": after},
            "diff": list(self.lines()),
            "claims_added": list(self.added()),
            "claims_removed": list(self.removed()),
            "trial": None if self.trial is None else self.trial.to_json(),
        }


def compare_attestation_policies(before: str, after: str, claims: Mapping[str, Json] | None = None) -> PolicyChange:
    """Return what the second policy would change, with `claims` also what each says of a token's."""
    tried = None if claims is None else Trial(before=_verdict(before, claims), after=_verdict(after, claims))
    return PolicyChange(
        before=before, after=after, issued_before=_issued(before), issued_after=_issued(after), trial=tried
    )


def _issued(text: str) -> tuple[str, ...] | None:
    if not text:
        return ()
    try:
        rules = parse_attestation_policy(text).issuance
    except PolicyError:
        return None
    types = [rule.action.type for rule in rules if rule.action.verb == "issue"]
    return tuple(dict.fromkeys(str(each.value) for each in types if isinstance(each, Literal)))


def _verdict(text: str, claims: Mapping[str, Json]) -> Verdict | None:
    try:
        return evaluate(parse_attestation_policy(text), incoming_claims(claims))
    except PolicyError:
        return None
