"""The text of an attestation policy to its tree. Every error has line and column, as the service's own have."""

from __future__ import annotations

from difflib import get_close_matches

from skrkit.attestation_policy.model import (
    AUTHORIZATION,
    CONFIGURATION,
    ISSUANCE,
    SEGMENTS,
    VERSIONS,
    Action,
    AttestationPolicy,
    Condition,
    Place,
    Rule,
)
from skrkit.attestation_policy.parse_parts import Reader, action, condition
from skrkit.attestation_policy.tokens import syntax_error, tokens_of
from skrkit.errors import PolicyError

ALLOWED = {
    CONFIGURATION: ("issueproperty",),
    AUTHORIZATION: ("permit", "deny", "add"),
    ISSUANCE: ("add", "issue", "issueproperty"),
}
"""Which action may stand in which segment."""


def parse_attestation_policy(text: str | bytes) -> AttestationPolicy:
    """Return the policy of a text, which is UTF-8 where it is bytes. Raises `PolicyError` that names line and column.

    What a version does not have is refused in it: configuration rules before 1.1, functions and `!` before 1.2.
    """
    text = _decoded(text)
    reader = Reader(tokens_of(text))
    version = _version(reader)
    reader.version = version
    rules: dict[str, tuple[Rule, ...]] = {}
    while reader.token.kind != "end":
        name = _segment_name(reader, rules)
        rules[name] = _rules(reader, name)
    if AUTHORIZATION not in rules:
        raise reader.unexpected("authorizationrules", fix="Add it: authorizationrules { => permit(); };")
    return AttestationPolicy(
        version=version,
        configuration=rules.get(CONFIGURATION, ()),
        authorization=rules[AUTHORIZATION],
        issuance=rules.get(ISSUANCE, ()),
        text=text,
    )


def _decoded(text: str | bytes) -> str:
    if isinstance(text, str):
        return text
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError as cause:
        raise PolicyError(
            what="attestation policy",
            where=f"byte 0x{cause.start:X}",
            expected="UTF-8",
            found=cause.reason,
            fix="Save the policy as UTF-8.",
            rule="not-utf8",
        ) from None


def _version(reader: Reader) -> tuple[int, int]:
    reader.take_name("version", fix="Begin with version= 1.0; (or 1.1, or 1.2).")
    reader.take("=")
    place = reader.token.place
    major = reader.take("integer")
    reader.take(".")
    minor = reader.take("integer")
    found = (int(major.value), int(minor.value))
    if found not in VERSIONS or len(major.text + minor.text) != 2:
        raise syntax_error(
            place,
            expected=", ".join(f"{first}.{second}" for first, second in VERSIONS),
            found=f"{major.text}.{minor.text}",
            fix="Write version= 1.2; for functions and !, 1.0 for the rest.",
            rule="version",
        )
    reader.take(";", fix="End the version with a semicolon.")
    return found


def _segment_name(reader: Reader, seen: dict[str, tuple[Rule, ...]]) -> str:
    token = reader.token
    left = [name for name in SEGMENTS if not seen or SEGMENTS.index(name) > SEGMENTS.index(list(seen)[-1])]
    if reader.version < (1, 1) and token.text == CONFIGURATION:
        raise _too_new(token.place, CONFIGURATION, "1.1")
    if token.kind == "name" and token.text in left:
        return reader.take("name").text
    near = get_close_matches(token.text, SEGMENTS, n=1)
    fix = f"Did you mean {near[0]}?" if near and near[0] in left else "Segments stand in this order, each once."
    raise reader.unexpected(" or ".join(left) or "the end of the text", fix=fix, rule="segment")


def _too_new(place: Place, what: str, version: str) -> PolicyError:
    return syntax_error(
        place,
        expected=f"version {version} or later for {what}",
        found="an earlier one",
        fix=f"Begin with version= {version};",
        rule="version-too-old",
    )


def _rules(reader: Reader, segment: str) -> tuple[Rule, ...]:
    reader.take("{")
    found: list[Rule] = []
    while reader.token.kind != "}":
        found.append(_rule(reader, segment))
    reader.take("}")
    reader.take(";", fix=f"End {segment} with }};")
    return tuple(found)


def _rule(reader: Reader, segment: str) -> Rule:
    place = reader.token.place
    conditions: list[Condition] = []
    bound: dict[str, Condition] = {}
    if reader.token.kind != "=>":
        while True:
            one = condition(reader, bound)
            conditions.append(one)
            if one.identifier:
                bound[one.identifier] = one
            if reader.token.kind != "&&":
                break
            reader.take("&&")
    reader.take("=>", fix="A rule is conditions, =>, and an action.")
    done = action(reader, bound)
    _check_verb(done, segment)
    reader.take(";", fix="End the rule with a semicolon.")
    return Rule(tuple(conditions), done, place)


def _check_verb(found: Action, segment: str) -> None:
    if found.verb in ALLOWED[segment]:
        return
    homes = [name for name, verbs in ALLOWED.items() if found.verb in verbs]
    raise syntax_error(
        found.place,
        expected=f"{', '.join(ALLOWED[segment])} in {segment}",
        found=found.verb,
        fix=f"Move the rule to {' or '.join(homes)}.",
        rule="action-place",
    )
