"""Whether a token's claims meet a release policy: a decision tree that keeps every answer, not only the last."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol, TypeAlias

from skrkit.errors import UsageError
from skrkit.policy.explain import decimal_of, elsewhere, issuer_hint, leaf_hint, nearest_claim
from skrkit.policy.model import (
    AuthorityClause,
    Condition,
    Group,
    Operator,
    ReleasePolicy,
    Rule,
    issuer_form,
    scalar_text,
)
from skrkit.wire import Json

Node: TypeAlias = "Decision | Leaf"


class VerifiedClaims(Protocol):
    """What a verified token shows to a policy. An unverified one has no `verified_at`, and is refused."""

    @property
    def claims(self) -> Mapping[str, Json]:
        """The claims that the signature covers."""
        ...

    @property
    def verified_at(self) -> datetime:
        """The time at which the token was verified."""
        ...


@dataclass(frozen=True, slots=True)
class Leaf:
    """The answer to one condition. `found` is the claim's value, None when `present` is False."""

    condition: Condition
    found: Json
    present: bool
    holds: bool
    claims: Mapping[str, Json] = field(repr=False, compare=False)
    extended: bool = field(default=False, repr=False)

    @property
    def pointer(self) -> str:
        """The JSON pointer of the condition in the policy."""
        return self.condition.pointer

    @property
    def claim(self) -> str:
        """The claim's path."""
        return self.condition.claim

    @property
    def expected(self) -> Json:
        """The value in the policy."""
        return self.condition.value

    @property
    def operator(self) -> Operator:
        """The operator in the policy."""
        return self.condition.operator

    @property
    def nearest(self) -> str | None:
        """The path of the claim that was probably meant, looked up when asked; None when the condition holds.

        For an absent claim, the nearest name; for one with another value, a claim of its name that has the value.
        """
        if self.holds:
            return None
        if self.present:
            return elsewhere(self.claim, self.condition.text, self.claims)
        return nearest_claim(self.claim, self.claims)

    @property
    def hint(self) -> str:
        """Why the condition does not hold, in a few words; empty when it holds."""
        return "" if self.holds else leaf_hint(self.condition, self.found, self.claims, extended=self.extended)

    def to_json(self) -> dict[str, Json]:
        """Return the answer as JSON members; `found`, `nearest` and `hint` only where there is one."""
        members: dict[str, Json] = {
            "pointer": self.pointer,
            "claim": self.claim,
            "operator": self.operator.value,
            "expected": self.expected,
            "holds": self.holds,
        }
        if self.present:
            members["found"] = self.found
        for name, value in (("nearest", self.nearest), ("hint", self.hint)):
            if value:
                members[name] = value
        return members


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer of a policy, of one of its authorities, or of a group. A no is a value, never an exception.

    `rule` is "anyOf", "allOf", or "authority": then `authority` is what the policy asks and `issuer` is the token's
    `iss`; with another issuer nothing below is asked, and `children` is empty. The root is the policy's `anyOf`.
    """

    pointer: str
    rule: Literal["anyOf", "allOf", "authority"]
    holds: bool
    children: tuple[Node, ...]
    authority: str = ""
    issuer: Json = None

    @property
    def hint(self) -> str:
        """Why an authority does not apply, in a few words; empty when it does, and for a group."""
        return issuer_hint(self.authority, self.issuer) if self.rule == "authority" and not self.children else ""

    def leaves(self) -> Iterator[Leaf]:
        """Return every condition that was asked, in the policy's order."""
        for child in self.children:
            if isinstance(child, Leaf):
                yield child
            else:
                yield from child.leaves()

    def to_json(self) -> dict[str, Json]:
        """Return the tree as JSON members."""
        members: dict[str, Json] = {"pointer": self.pointer, "rule": self.rule, "holds": self.holds}
        if self.rule == "authority":
            members |= {"authority": self.authority, "issuer": self.issuer}
        if self.hint:
            members["hint"] = self.hint
        members["children"] = [child.to_json() for child in self.children]
        return members


def evaluate(
    policy: ReleasePolicy, claims: Mapping[str, Json] | VerifiedClaims, *, extended_operators: bool = False
) -> Decision:
    """Return the decision tree of a policy over a verified token, or over plain claims that the caller vouches for.

    1. An authority applies when it is the token's `iss`, a trailing slash and the case of the host aside.
    2. The policy holds when one authority that applies does. 3. `allOf` is and, `anyOf` is or.
    4. A claim's path is split at dots and walked through objects; what is not found does not hold.
    5. Scalars are compared in their normal form; arrays, objects and null never match.

    Operators other than `equals` do not hold unless `extended_operators`: the service documents `equals` alone, and
    what the others mean is inferred. Raises `UsageError` for a token that nobody verified.
    Source: Key Vault reference, policy evaluation.
    """
    values = _claims(claims)
    found = values.get("iss")
    issuer = issuer_form(found) if isinstance(found, str) and found else None
    children = tuple(_clause(clause, values, issuer, found, extended_operators) for clause in policy.root)
    return Decision("/anyOf", "anyOf", any(child.holds for child in children), children)


def _claims(claims: Mapping[str, Json] | VerifiedClaims) -> Mapping[str, Json]:
    if isinstance(claims, Mapping):
        return claims
    if isinstance(getattr(claims, "verified_at", None), datetime):
        return claims.claims
    raise UsageError(
        what="claims to evaluate",
        where="argument claims",
        expected="a verified token, or claims as a mapping",
        found=type(claims).__name__,
        fix="Verify the token first: verify_token(token, jwks=…, issuer=…, now=…).",
    )


def _clause(
    clause: AuthorityClause, claims: Mapping[str, Json], issuer: str | None, found: Json, extended: bool
) -> Decision:
    if issuer is None or clause.issuer != issuer:
        return Decision(clause.pointer, "authority", False, (), clause.authority, found)
    inner = _group(clause.group, claims, extended)
    return Decision(clause.pointer, "authority", inner.holds, (inner,), clause.authority, found)


def _group(group: Group, claims: Mapping[str, Json], extended: bool) -> Decision:
    children: tuple[Node, ...] = tuple(
        [
            ask(member, claims, extended) if isinstance(member, Condition) else _group(member, claims, extended)
            for member in group.members
        ]
    )
    answers = [child.holds for child in children]
    if group.rule is Rule.ALL_OF:
        return Decision(group.pointer, "allOf", bool(answers) and all(answers), children)
    return Decision(group.pointer, "anyOf", any(answers), children)


def ask(condition: Condition, claims: Mapping[str, Json], extended: bool = False) -> Leaf:
    """Return the answer to one condition, by steps 4 and 5 of `evaluate`."""
    value: Json | Mapping[str, Json] = claims
    for step in condition.steps:
        # dict first: an isinstance of the abstract Mapping costs ten times as much
        if not isinstance(value, dict | Mapping) or step not in value:
            return Leaf(condition, None, False, extended and _absent(condition), claims, extended)
        value = value[step]
    found: Json = value if isinstance(value, dict) or not isinstance(value, Mapping) else dict(value)
    if condition.operator is Operator.EQUALS:
        return Leaf(condition, found, True, scalar_text(found) == condition.text, claims, extended)
    return Leaf(condition, found, True, extended and _extended(condition, found), claims, extended)


def _absent(condition: Condition) -> bool:
    return condition.operator is Operator.EXISTS and condition.text == "false"


def _extended(condition: Condition, found: Json) -> bool:
    text = scalar_text(found)
    if condition.operator is Operator.EXISTS:
        return condition.text == "true"
    if condition.operator is Operator.NOT_EQUALS:
        return text is not None and text != condition.text
    claim, bound = decimal_of(found), decimal_of(condition.value)
    if claim is None or bound is None:
        return False
    return {
        Operator.LESS: claim < bound,
        Operator.LESS_OR_EQUALS: claim <= bound,
        Operator.GREATER: claim > bound,
        Operator.GREATER_OR_EQUALS: claim >= bound,
    }[condition.operator]
