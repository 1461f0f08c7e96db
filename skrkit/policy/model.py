"""A release policy as a tree. Equality is the service's: two policies that it would treat alike are equal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import ClassVar, TypeAlias

from skrkit.wire import Json, Span

Scalar: TypeAlias = "str | int | float | bool"


class Operator(Enum):
    """What a condition may ask. The service documents `equals` alone as working; the grammar lists all seven.

    Source: Azure Key Vault, "Secure key release policy grammar".
    """

    EQUALS = "equals"
    NOT_EQUALS = "notEquals"
    LESS = "less"
    LESS_OR_EQUALS = "lessOrEquals"
    GREATER = "greater"
    GREATER_OR_EQUALS = "greaterOrEquals"
    EXISTS = "exists"


class Rule(Enum):
    """How a group holds: `anyOf` when one member does, `allOf` when every one does."""

    ANY_OF = "anyOf"
    ALL_OF = "allOf"


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One claim, one operator, one value.

    `claim` is a path: names with a dot between. `value` is the value as written; `text` is its normal form, and the
    only one that counts, since a vault rewrites `true` to `"true"`. `pointer` is the condition's JSON pointer.
    """

    claim: str
    operator: Operator
    text: str
    value: Scalar = field(compare=False)
    steps: tuple[str, ...] = field(compare=False, repr=False)
    pointer: str = field(compare=False)

    def document(self) -> dict[str, Json]:
        """Return the condition as its JSON object."""
        return {"claim": self.claim, self.operator.value: self.value}


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """An `anyOf` or `allOf` with its members, never empty. `pointer` is that of the array."""

    rule: Rule
    members: tuple[Condition | Group, ...]
    pointer: str = field(compare=False)

    def document(self) -> dict[str, Json]:
        """Return the group as its JSON object."""
        return {self.rule.value: [member.document() for member in self.members]}


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorityClause:
    """The conditions for tokens of one attestation provider.

    `authority` is the text as written. `issuer` is its normal form, which a token's `iss` is compared with: without
    one trailing slash, scheme and host in lower case (inferred: Microsoft's own policies have the slash, MAA's `iss`
    has none).
    """

    authority: str = field(compare=False)
    issuer: str
    group: Group
    pointer: str = field(compare=False)

    def document(self) -> dict[str, Json]:
        """Return the clause as its JSON object."""
        return {"authority": self.authority, **self.group.document()}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasePolicy:
    """A release policy: it holds when one clause does. `raw` is the text as received, `compact` without white space.

    Compare `root`, never bytes: the service rewrites white space, booleans and, in a Managed HSM, member order.
    """

    version: str
    root: tuple[AuthorityClause, ...]
    compact: bytes = field(compare=False, repr=False)
    raw: bytes = field(compare=False, repr=False)

    kind: ClassVar[str] = "release-policy"
    title: ClassVar[str] = "Key release policy"

    def fields(self) -> dict[str, Json]:
        """Return the policy as its JSON document, members in the order that a vault writes."""
        return {"version": self.version, "anyOf": [clause.document() for clause in self.root]}

    def spans(self) -> tuple[Span, ...]:
        """Return no spans: a policy is text."""
        return ()


def conditions_of(group: Group) -> Iterator[Condition]:
    """Return every condition in a group and in the groups inside it, in the policy's order."""
    for member in group.members:
        if isinstance(member, Condition):
            yield member
        else:
            yield from conditions_of(member)


def scalar_text(value: Json) -> str | None:
    """Return the normal form in which two scalars are compared, or None for what never matches.

    A text is itself; `true` and `false` are those words; a number is its shortest JSON form (1.0 is 1). Null, arrays,
    objects and infinities have none. Source: recorded traffic and published samples, where `"true"`, `"false"` and
    `"0"` match the booleans and numbers that MAA emits; the rest is inferred.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float) and value - value == 0:  # finite
        return str(int(value)) if value.is_integer() and abs(value) < 1e16 else repr(value)
    return None


def issuer_form(url: str) -> str:
    """Return an authority or `iss` as the two are compared: no one trailing slash, scheme and host in lower case."""
    scheme, mark, rest = url.removesuffix("/").partition("://")
    if not mark:
        return scheme
    host, slash, path = rest.partition("/")
    return f"{scheme.lower()}://{host.lower()}{slash}{path}"
