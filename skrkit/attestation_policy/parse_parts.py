"""The parts of a rule: conditions, their tests, actions, expressions. And the reader that all of the parser shares."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches

from skrkit.attestation_policy.functions import ARITY
from skrkit.attestation_policy.model import (
    Action,
    Condition,
    Expression,
    FunctionCall,
    Literal,
    PropertyTest,
    Reference,
)
from skrkit.attestation_policy.tokens import Token, syntax_error
from skrkit.errors import PolicyError

MEMBERS = ("type", "value", "valueType", "issuer")
VERBS = ("permit", "deny", "add", "issue", "issueproperty")
OPERATORS = ("==", "!=", "<", "<=", ">", ">=")
EQUALITY = ("==", "!=")
MAX_DEPTH = 32
"""Of calls in calls: what walks the tree must not run out of stack. The service's own limit is not known."""


class Reader:
    """The tokens, one at a time. `version` is set once it is read."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._at = 0
        self.version = (1, 0)

    @property
    def token(self) -> Token:
        """The token to be read next."""
        return self._tokens[self._at]

    def take(self, kind: str, *, fix: str = "") -> Token:
        """Return the next token, which must be of that kind, and go on to the one after it."""
        token = self.token
        if token.kind != kind:
            raise self.unexpected(_KINDS.get(kind, f"'{kind}'"), fix=fix)
        self._at += 1
        return token

    def take_name(self, name: str, *, fix: str) -> Token:
        """Return the next token, which must be that name."""
        if self.token.text != name:
            raise self.unexpected(f"'{name}'", fix=fix)
        return self.take("name", fix=fix)

    def unexpected(self, expected: str, *, fix: str = "", rule: str = "syntax") -> PolicyError:
        """Return the error of the next token, where something else was expected."""
        fix = fix or "Look at this place and at the end of what stands before it."
        return syntax_error(self.token.place, expected=expected, found=str(self.token), fix=fix, rule=rule)

    def need(self, version: tuple[int, int], what: str) -> None:
        """Refuse what the policy's version does not have."""
        if self.version < version:
            raise syntax_error(
                self.token.place,
                expected=f"version {version[0]}.{version[1]} or later for {what}",
                found=f"version {self.version[0]}.{self.version[1]}",
                fix=f"Begin with version= {version[0]}.{version[1]};",
                rule="version-too-old",
            )


_KINDS = {"name": "a name", "integer": "an integer", "string": "a text in quotes", "end": "the end of the text"}


def condition(reader: Reader, bound: Collection[str]) -> Condition:
    """Return the next condition: `![…]`, `c:[…]` or `[…]`. `bound` are the identifiers that stand before it."""
    place = reader.token.place
    negated = reader.token.kind == "!"
    if negated:
        reader.need((1, 2), "!")
        reader.take("!")
    identifier = ""
    if reader.token.kind == "name":
        named = reader.take("name")
        identifier = named.text
        reader.take(":", fix="A condition is [ … ], or a name, a colon and [ … ].")
        if identifier in bound or negated:
            raise syntax_error(
                named.place,
                expected="no name, for what is not there" if negated else "each name once in a rule",
                found=identifier,
                fix=f"Remove `{identifier}:`." if negated else "Choose another name.",
                rule="identifier",
            )
    reader.take("[", fix="A condition stands in square brackets.")
    tests = [_test(reader, bound)]
    while reader.token.kind == ",":
        reader.take(",")
        tests.append(_test(reader, bound))
    reader.take("]", fix="Close the condition, or put a comma before its next test.")
    return Condition(tuple(tests), identifier, negated, place)


def _test(reader: Reader, bound: Collection[str]) -> PropertyTest:
    named = reader.take("name")
    if named.text not in MEMBERS:
        raise _unknown(named, MEMBERS, "member")
    operator = reader.token
    if operator.kind == "=":
        raise reader.unexpected("'=='", fix="Write == to compare; = stands in actions alone.", rule="assignment")
    if operator.kind not in OPERATORS:
        raise reader.unexpected(" ".join(OPERATORS))
    reader.take(operator.kind)
    operand = _expression(reader, bound, 0)
    if operator.kind not in EQUALITY and (named.text != "value" or _is_unordered(operand)):
        raise syntax_error(
            operator.place,
            expected="== or !=: integers alone have an order",
            found=operator.text,
            fix="Compare with == or !=, or with an integer.",
            rule="operator",
        )
    return PropertyTest(named.text, operator.kind, operand, named.place)


def _is_unordered(operand: Expression) -> bool:
    return isinstance(operand, Literal) and (isinstance(operand.value, bool) or not isinstance(operand.value, int))


def _unknown(found: Token, known: tuple[str, ...], rule: str) -> PolicyError:
    near = get_close_matches(found.text, known, n=1)
    return syntax_error(
        found.place,
        expected=", ".join(known),
        found=found.text,
        fix=f"Did you mean {near[0]}?" if near else "Write one of these, in this case.",
        rule=rule,
    )


def action(reader: Reader, bound: Collection[str]) -> Action:
    """Return the next action. `bound` are the identifiers of the rule's conditions."""
    named = reader.take("name", fix=f"An action is one of {', '.join(VERBS)}.")
    if named.text not in VERBS:
        raise _unknown(named, VERBS, "action")
    reader.take("(")
    if named.text in ("permit", "deny"):
        reader.take(")", fix=f"{named.text}() takes nothing.")
        return Action(named.text, named.place)
    made = _claim_of(reader, named, bound)
    reader.take(")")
    return made


def _claim_of(reader: Reader, verb: Token, bound: Collection[str]) -> Action:
    """Return an action with the claim that it makes: `claim = c`, or `type = …, value = …` in either order."""
    given: dict[str, Expression] = {}
    while True:
        named = reader.take("name", fix="Write claim = c, or type = …, value = …")
        if named.text == "claim" and not given:
            reader.take("=")
            return Action(verb.text, verb.place, claim=_identifier(reader, bound).text)
        if named.text not in ("type", "value") or named.text in given:
            raise _unknown(named, ("type", "value"), "argument")
        if reader.token.kind == "==":
            raise reader.unexpected("'='", fix="Write = to give a value; == compares.", rule="assignment")
        reader.take("=")
        place = reader.token.place
        given[named.text] = _expression(reader, bound, 0)
        if named.text == "type" and not _may_be_type(given["type"]):
            raise syntax_error(
                place, expected="a text that is not empty", found="none", fix="Name the claim's type.", rule="type"
            )
        if len(given) == 2:
            return Action(verb.text, verb.place, type=given["type"], value=given["value"])
        reader.take(",", fix="A claim needs type and value.")


def _may_be_type(expression: Expression) -> bool:
    return not isinstance(expression, Literal) or (isinstance(expression.value, str) and bool(expression.value))


def _identifier(reader: Reader, bound: Collection[str]) -> Token:
    named = reader.take("name")
    if named.text not in bound:
        raise syntax_error(
            named.place,
            expected=f"one of {', '.join(bound)}" if bound else "a name that a condition before it gives",
            found=named.text,
            fix=f"Name a condition of this rule: {named.text}:[ … ]",
            rule="identifier",
        )
    return named


def _expression(reader: Reader, bound: Collection[str], depth: int) -> Expression:
    token = reader.token
    if token.kind in ("string", "integer"):
        return Literal(reader.take(token.kind).value, token.place)
    if token.kind != "name":
        raise reader.unexpected("a text in quotes, an integer, true, false, or c.value")
    if token.text in ("true", "false"):
        reader.take("name")
        return Literal(token.text == "true", token.place)
    if token.text in ARITY:
        return _call(reader, bound, depth)
    return _reference(reader, bound)


def _reference(reader: Reader, bound: Collection[str]) -> Expression:
    place = reader.token.place
    if reader.token.text not in bound:
        near = get_close_matches(reader.token.text, ARITY, n=1)
        if near:
            raise reader.unexpected(", ".join(ARITY), fix=f"Did you mean {near[0]}?", rule="function")
    identifier = _identifier(reader, bound)
    reader.take(".", fix="Name a member: c.value")
    member = reader.take("name")
    if member.text not in MEMBERS:
        raise _unknown(member, MEMBERS, "member")
    return Reference(identifier.text, member.text, place)


def _call(reader: Reader, bound: Collection[str], depth: int) -> Expression:
    reader.need((1, 2), "functions")
    named = reader.take("name")
    if depth >= MAX_DEPTH:
        raise syntax_error(
            named.place,
            expected=f"at most {MAX_DEPTH} calls in each other",
            found="more",
            fix="Keep a result in a claim by add(…), and go on from there.",
            rule="depth",
        )
    reader.take("(")
    arguments: list[Expression] = []
    while reader.token.kind != ")":
        if arguments:
            reader.take(",", fix="Put a comma between arguments.")
        arguments.append(_expression(reader, bound, depth + 1))
    reader.take(")")
    if len(arguments) != ARITY[named.text]:
        raise syntax_error(
            named.place,
            expected=f"{ARITY[named.text]} for {named.text}",
            found=f"{len(arguments)} arguments",
            fix=f"{named.text} takes {ARITY[named.text]}.",
            rule="arity",
        )
    return FunctionCall(named.text, tuple(arguments), named.place)
