"""What is wrong with an attestation policy before a provider has it, or odd: each remark with place, reason and fix."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from skrkit.attestation_policy.model import (
    FROM_POLICY,
    FROM_SERVICE,
    AttestationPolicy,
    Condition,
    Literal,
    PropertyTest,
    Rule,
    value_type,
)
from skrkit.attestation_policy.parse import parse_attestation_policy
from skrkit.errors import PolicyError
from skrkit.policy.lint_rules import Severity
from skrkit.token.catalogue import catalogue, explain_claim
from skrkit.token.claim_fact import ClaimType
from skrkit.wire import Json

GRAMMAR = "Azure Attestation, claim rule grammar"
CLAIM_SETS = "Azure Attestation, claim sets"
_EXTRA = frozenset({"events", "pcrs", "x-ms-sgx-tcbidentifier"})  # incoming claims that no token of a VM shows
_KINDS = {ClaimType.INTEGER: "Integer", ClaimType.BOOLEAN: "Boolean"}
_FREE = frozenset({ClaimType.ANY, ClaimType.OBJECT, ClaimType.ARRAY})


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """One remark. `id` is stable ("authorization.no-permit"); `where` is line and column, "" for the whole."""

    id: str
    severity: Severity
    where: str
    what: str
    why: str
    fix: str
    source: str = GRAMMAR

    def to_json(self) -> dict[str, Json]:
        """Return the remark as JSON members."""
        return {name: getattr(self, name) for name in ("id", "where", "what", "why", "fix", "source")} | {
            "severity": self.severity.value
        }


def lint_attestation_policy(text: str | bytes) -> tuple[Remark, ...]:
    """Return what is to be said of a policy, in the order of its text. One that does not parse has one remark."""
    try:
        policy = parse_attestation_policy(text)
    except PolicyError as error:
        return (
            Remark(
                id=f"grammar.{error.rule}",
                severity=Severity.ERROR,
                where=error.where,
                what=f"expected {error.expected}, found {error.found}",
                why="The provider refuses it: 400 PolicyParsingError.",
                fix=error.fix,
            ),
        )
    return (*_of_authorization(policy), *_of_rules(policy))


def has_errors(remarks: tuple[Remark, ...]) -> bool:
    """Return whether a remark must be mended."""
    return any(remark.severity is Severity.ERROR for remark in remarks)


def _of_authorization(policy: AttestationPolicy) -> Iterator[Remark]:
    rules = policy.authorization
    permits = [rule for rule in rules if rule.action.verb == "permit"]
    denies = [rule for rule in rules if rule.action.verb == "deny"]
    if not permits:
        yield Remark(
            id="authorization.no-permit",
            severity=Severity.ERROR,
            where="",
            what="no rule permits",
            why="Without a permission no attestation succeeds: 400 PolicyEvaluationError.",
            fix="Add a rule: => permit();",
        )
    for rule in denies:
        if not rule.conditions:
            yield Remark(
                id="authorization.denies-all",
                severity=Severity.ERROR,
                where=str(rule.place),
                what="a rule without conditions denies",
                why="A denial wins over every permission, wherever it stands.",
                fix="Give the rule conditions, or remove it.",
            )
    if not denies and any(not rule.conditions for rule in permits):
        yield Remark(
            id="authorization.permits-all",
            severity=Severity.NOTE,
            where=str(permits[0].place),
            what="everything that verifies is permitted",
            why="The token then says what was found, and whoever relies on it must ask for each claim.",
            fix="Ask in the release policy for what the key needs; or deny here.",
        )


def _of_rules(policy: AttestationPolicy) -> Iterator[Remark]:
    made = _made_types(policy)
    for _, rules in policy.segments():
        for rule in rules:
            for condition in rule.conditions:
                yield from _of_condition(condition, made)
            yield from _of_denial(rule, made)


def _made_types(policy: AttestationPolicy) -> frozenset[str]:
    """Return the types of claims that rules of the policy make."""
    types = (rule.action.type for _, rules in policy.segments() for rule in rules)
    return frozenset(str(each.value) for each in types if isinstance(each, Literal))


def _asked(condition: Condition) -> Mapping[str, PropertyTest]:
    """Return the tests for equality with a literal, by member."""
    return {
        test.member: test for test in condition.tests if test.operator == "==" and isinstance(test.operand, Literal)
    }


def _literal(test: PropertyTest | None) -> str | int | bool | None:
    return test.operand.value if test is not None and isinstance(test.operand, Literal) else None


def _of_condition(condition: Condition, made: frozenset[str]) -> Iterator[Remark]:
    asked = _asked(condition)
    name = _literal(asked.get("type"))
    issuer = _literal(asked.get("issuer"))
    if not isinstance(name, str) or name in made or issuer == FROM_POLICY:
        return
    fact = explain_claim(name)
    if fact is None and name not in _EXTRA:
        if issuer in (None, FROM_SERVICE):
            yield _unknown(condition, name)
        return
    test = next((test for test in condition.tests if test.member == "value"), None)
    value = _literal(test)
    if fact is None or fact.type in _FREE or value is None or test is None:
        return
    wanted = _KINDS.get(fact.type, "String")
    if value_type(value) != wanted:
        yield Remark(
            id="condition.value-type",
            severity=Severity.WARNING,
            where=str(test.place),
            what=f"{name} is compared with a {value_type(value)}, and its value is a {wanted}",
            why="Values of two types are never equal: the condition never holds, or with != always.",
            fix={"Boolean": "Write true or false, without quotes.", "Integer": "Write the number without quotes."}.get(
                wanted, "Put the value into quotes."
            ),
            source=CLAIM_SETS,
        )


def _unknown(condition: Condition, name: str) -> Remark:
    known = {fact.path.partition(".")[0] for fact in catalogue()}
    near = get_close_matches(name, known, n=1)
    return Remark(
        id="condition.unknown-claim",
        severity=Severity.WARNING,
        where=str(condition.place),
        what=f"{name} is no claim that a confidential VM's attestation is known to have",
        why="A condition on a claim that is not there never holds: what it was to permit or to deny does not happen.",
        fix=f"Did you mean {near[0]}?" if near else "Compare with the claims of a token: skrkit inspect token.jwt",
        source=CLAIM_SETS,
    )


def _of_denial(rule: Rule, made: frozenset[str]) -> Iterator[Remark]:
    """Remark on a denial that an absent claim gets around: [type=="x", value==false] asks whether x is there, too."""
    if rule.action.verb != "deny" or len(rule.conditions) != 1 or rule.conditions[0].negated:
        return
    asked = _asked(rule.conditions[0])
    name, value = _literal(asked.get("type")), _literal(asked.get("value"))
    if value is False and isinstance(name, str) and name not in made:
        yield Remark(
            id="authorization.absent-is-not-denied",
            severity=Severity.NOTE,
            where=str(rule.place),
            what=f"evidence without {name} is not denied",
            why="The condition holds for the value false alone, and not where there is no such claim.",
            fix=f'Permit on [type=="{name}", value==true] instead, or deny on ![type=="{name}", value==true] (1.2).',
        )
