"""Whether a policy lets a token be made, and what it puts into it: every rule with what came of it, in order.

Pure: a policy and claims in, a verdict out. What no document says is marked (inferred) where it is decided.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from skrkit.attestation_policy.functions import MAX_VALUES, Values, call, evaluation_error
from skrkit.attestation_policy.model import (
    AUTHORIZATION,
    CONFIGURATION,
    FROM_POLICY,
    ISSUANCE,
    Action,
    AttestationPolicy,
    Claim,
    Condition,
    Expression,
    FunctionCall,
    Literal,
    PropertyTest,
    Reference,
    Rule,
    Scalar,
    value_type,
)
from skrkit.wire import Json

Bindings = Mapping[str, tuple[Claim, ...]]

_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """One rule: whether its conditions held, and the claims that it made. `unmet` is the first one that did not."""

    segment: str
    rule: Rule
    fired: bool
    unmet: Condition | None = None
    made: tuple[Claim, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a policy says of claims. `issued` go into the token, `properties` steer the service.

    `denials` are the rules that denied; a verdict without one can still be no, where nothing permitted. Without a
    permission the issuance rules have not run.
    """

    permitted: bool
    denials: tuple[Applied, ...]
    issued: tuple[Claim, ...]
    properties: tuple[Claim, ...]
    applied: tuple[Applied, ...]

    def to_json(self) -> dict[str, Json]:
        """Return the verdict as JSON members; a rule is named by its segment and line."""
        return {
            "permitted": self.permitted,
            "denied_by": [_name(each) for each in self.denials],
            "issued": [_members(claim) for claim in self.issued],
            "properties": [_members(claim) for claim in self.properties],
            "rules": [
                {**_name(each), "fired": each.fired, "made": [_members(claim) for claim in each.made]}
                for each in self.applied
            ],
        }


def _name(applied: Applied) -> dict[str, Json]:
    return {"segment": applied.segment, "line": applied.rule.place.line, "action": applied.rule.action.verb}


def _members(claim: Claim) -> dict[str, Json]:
    return {"type": claim.type, "value": claim.value, "issuer": claim.issuer}


@dataclass(slots=True)
class _Sets:
    """The claims that rules see and make."""

    incoming: list[Claim]
    issued: list[Claim] = field(default_factory=list)
    properties: list[Claim] = field(default_factory=list)


def evaluate(policy: AttestationPolicy, claims: Iterable[Claim]) -> Verdict:
    """Return what the policy says of the incoming claims.

    Raises `PolicyError` where a rule that fires cannot be evaluated: a function's argument of the wrong kind, a
    read-only claim that is to be issued. The service answers such a policy with PolicyEvaluationError (inferred).
    """
    sets = _Sets(list(claims))
    applied = _run(CONFIGURATION, policy.configuration, sets)
    applied += _run(AUTHORIZATION, policy.authorization, sets)
    verbs = {each.rule.action.verb for each in applied if each.fired}
    permitted = "permit" in verbs and "deny" not in verbs
    if permitted:
        applied += _run(ISSUANCE, policy.issuance, sets)
    return Verdict(
        permitted=permitted,
        denials=tuple(each for each in applied if each.fired and each.rule.action.verb == "deny"),
        issued=tuple(sets.issued),
        properties=tuple(sets.properties),
        applied=tuple(applied),
    )


def _run(segment: str, rules: tuple[Rule, ...], sets: _Sets) -> list[Applied]:
    return [_apply(segment, rule, sets) for rule in rules]


def _apply(segment: str, rule: Rule, sets: _Sets) -> Applied:
    bound: dict[str, tuple[Claim, ...]] = {}
    for condition in rule.conditions:
        tests = [_test(test, bound) for test in condition.tests]
        found = tuple(claim for claim in sets.incoming if all(holds(claim) for holds in tests))
        if bool(found) == condition.negated:
            return Applied(segment=segment, rule=rule, fired=False, unmet=condition)
        if condition.identifier:
            bound[condition.identifier] = found
    made = tuple(_claims_of(rule.action, bound))
    _keep(rule.action, made, sets)
    return Applied(segment=segment, rule=rule, fired=True, made=made)


def _keep(action: Action, made: tuple[Claim, ...], sets: _Sets) -> None:
    read_only = next((claim for claim in made if claim.read_only), None)
    if read_only is not None and action.verb != "add":
        raise evaluation_error(
            action.place,
            f"{action.verb} of {read_only.type}",
            "what is not read-only",
            "raw evidence",
            rule="read-only",
        )
    if len(sets.incoming) + len(made) > MAX_VALUES:
        raise evaluation_error(action.place, "claims", f"at most {MAX_VALUES}", "more", rule="too-many")
    sets.incoming += made
    if action.verb == "issue":
        sets.issued += made
    elif action.verb == "issueproperty":
        sets.properties += made


def _claims_of(action: Action, bound: Bindings) -> Iterator[Claim]:
    """Return the claims that an action makes: one for each value, and for each claim whose type it takes over."""
    if action.claim:
        for claim in bound[action.claim]:
            yield Claim(type=claim.type, value=claim.value, issuer=FROM_POLICY, read_only=claim.read_only)
    elif action.type is not None and action.value is not None:
        for named, narrowed in _types(action.type, bound):
            values = _value_of(action.value, narrowed)
            for value in values.items:
                yield Claim(type=named, value=value, issuer=FROM_POLICY, read_only=values.read_only)


def _types(expression: Expression, bound: Bindings) -> Iterator[tuple[str, Bindings]]:
    """Return each type to be made, with the claim alone that it is taken from: type and value stay together."""
    if isinstance(expression, Reference):
        for claim in bound[expression.identifier]:
            yield _type_text(claim.member(expression.member), expression), {**bound, expression.identifier: (claim,)}
        return
    for value in _value_of(expression, bound).items:
        yield _type_text(value, expression), bound


def _type_text(value: Scalar, expression: Expression) -> str:
    if not isinstance(value, str) or not value:
        raise evaluation_error(expression.place, "type of a claim", "a text that is not empty", repr(value))
    return value


def _test(test: PropertyTest, bound: Bindings) -> Callable[[Claim], bool]:
    """Return whether a claim passes a test: against several values, when it does against one of them (inferred).

    Values of two types are neither equal nor in any order; `!=` between them holds (inferred). What is compared with is
    evaluated once, when the first claim gets as far as this test.
    """
    member, sign = test.member, test.operator
    known: list[Values] = []

    def holds(claim: Claim) -> bool:
        if not known:
            known.append(_value_of(test.operand, bound))
        found = claim.member(member)
        return any(_compares(found, sign, value) for value in known[0].items)

    return holds


def _compares(found: Scalar, sign: str, value: Scalar) -> bool:
    if sign == "!=":
        return not _compares(found, "==", value)
    kind = value_type(found)
    if kind != value_type(value) or (sign != "==" and kind != "Integer"):
        return False
    return _OPERATORS[sign](found, value)


def _value_of(expression: Expression, bound: Bindings) -> Values:
    if isinstance(expression, Literal):
        return Values((expression.value,))
    if isinstance(expression, FunctionCall):
        arguments = [_value_of(argument, bound) for argument in expression.arguments]
        return call(expression.name, arguments, expression.place)
    claims = bound[expression.identifier]
    return Values(tuple(claim.member(expression.member) for claim in claims), any(claim.read_only for claim in claims))
