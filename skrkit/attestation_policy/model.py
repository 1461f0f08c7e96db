"""A policy of an attestation provider as a tree, and the claims that it judges and makes.

It is not the release policy of a key: that one judges the token which this one let be made.
Source: Azure Attestation, "Claim and claim rules", "Policy version 1.2", "Claim rule functions".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

Scalar: TypeAlias = str | int | bool
"""The three kinds of value. An integer has 64 bits (inferred: no document says how many)."""

FROM_SERVICE, FROM_POLICY, FROM_CALLER = "AttestationService", "AttestationPolicy", "CustomClaim"
"""Who made a claim: the service out of the evidence, the policy itself, the caller."""

CONFIGURATION, AUTHORIZATION, ISSUANCE = "configurationrules", "authorizationrules", "issuancerules"
SEGMENTS = (CONFIGURATION, AUTHORIZATION, ISSUANCE)
VERSIONS = ((1, 0), (1, 1), (1, 2))

INTEGERS = range(-(1 << 63), 1 << 63)


def value_type(value: Scalar) -> str:
    """Return the language's name of a value's type: Boolean, Integer or String."""
    if isinstance(value, bool):
        return "Boolean"
    return "Integer" if isinstance(value, int) else "String"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One claim. Several of one type are a set. What is `read_only` may be asked about, and never issued."""

    type: str
    value: Scalar
    issuer: str = FROM_CALLER
    read_only: bool = False

    def member(self, name: str) -> Scalar:
        """Return `type`, `value`, `valueType` or `issuer`."""
        found: Scalar = value_type(self.value) if name == "valueType" else getattr(self, name)
        return found


class Place(NamedTuple):
    """Where something stands in the text: both count from 1."""

    line: int
    column: int

    def __str__(self) -> str:
        """Return it as an error names it."""
        return f"line {self.line}, column {self.column}"


@dataclass(frozen=True, slots=True)
class Literal:
    """A text, an integer, true or false."""

    value: Scalar
    place: Place


@dataclass(frozen=True, slots=True)
class Reference:
    """A member of the claims that a condition of this rule has found: `c.value`."""

    identifier: str
    member: str
    place: Place


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """One of the six functions of version 1.2, with its arguments."""

    name: str
    arguments: tuple[Expression, ...]
    place: Place


Expression: TypeAlias = "Literal | Reference | FunctionCall"


@dataclass(frozen=True, slots=True)
class PropertyTest:
    """What a condition asks of one member of a claim: `value >= 3`."""

    member: str
    operator: str
    operand: Expression
    place: Place


@dataclass(frozen=True, slots=True)
class Condition:
    """Asks for a claim that meets every test; `negated`, that there is none. What it finds is called `identifier`."""

    tests: tuple[PropertyTest, ...]
    identifier: str
    negated: bool
    place: Place


@dataclass(frozen=True, slots=True)
class Action:
    """What a rule does. `claim` is the identifier whose claims are taken whole; else `type` and `value` make one."""

    verb: str
    place: Place
    claim: str = ""
    type: Expression | None = None
    value: Expression | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """Conditions, all of which must hold, and the action that is then done. No condition at all holds."""

    conditions: tuple[Condition, ...]
    action: Action
    place: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class AttestationPolicy:
    """A policy, rules in the order in which they run. `text` is what was parsed, which alone has a hash."""

    version: tuple[int, int]
    configuration: tuple[Rule, ...] = ()
    authorization: tuple[Rule, ...] = ()
    issuance: tuple[Rule, ...] = ()
    text: str = ""

    def segments(self) -> Iterator[tuple[str, tuple[Rule, ...]]]:
        """Return the three segments, by name, in the order in which they are evaluated."""
        yield from zip(SEGMENTS, (self.configuration, self.authorization, self.issuance), strict=True)
