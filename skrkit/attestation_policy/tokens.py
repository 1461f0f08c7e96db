"""The text of an attestation policy as tokens, each with its place."""

from __future__ import annotations

import re
from dataclasses import dataclass

from skrkit.attestation_policy.model import INTEGERS, Place, Scalar
from skrkit.errors import PolicyError

MAX_POLICY_CHARACTERS = 1 << 18  # real policies have hundreds; the service's own limit is not published
SOURCE = "Azure Attestation, claim rule grammar"
_SKIPPED = re.compile(r"(?:[ \t\r\n\f\v]+|//[^\n]*)*")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_INTEGER = re.compile(r"-?[0-9]+")
_SYMBOL = re.compile(r"=>|==|!=|<=|>=|&&|[<>=!:,;.(){}\[\]]")
_STRING = re.compile(r'"((?:[^"\\\r\n]|\\["\\])*)"')
_ESCAPE = re.compile(r'\\(["\\])')
_TYPOGRAPHIC = "\u201c\u201d\u201e\u2018\u2019"


@dataclass(frozen=True, slots=True)
class Token:
    """One token. `kind` is "name", "string", "integer", "end", or the symbol itself; `text` as it was written."""

    kind: str
    text: str
    place: Place
    value: Scalar = ""

    def __str__(self) -> str:
        """Return it as an error shows it."""
        return "the end of the text" if self.kind == "end" else f"'{self.text[:60]}'"


def syntax_error(place: Place, *, expected: str, found: str, fix: str, rule: str = "syntax") -> PolicyError:
    """Return the error of a text that breaks the grammar at a place. `rule` is the stable id of what is broken."""
    return PolicyError(
        what="attestation policy",
        where=str(place),
        expected=expected,
        found=found,
        fix=fix,
        source=SOURCE,
        rule=rule,
    )


def tokens_of(text: str) -> list[Token]:
    """Return the tokens of a policy's text, the last of kind "end". Raises `PolicyError` for what is none.

    Comments run from `//` to the end of the line. In a text in quotes a backslash stands before a quote or another
    backslash; before anything else it is refused, since no document says what it would mean.
    """
    if len(text) > MAX_POLICY_CHARACTERS:
        raise syntax_error(
            Place(1, 1),
            expected=f"at most {MAX_POLICY_CHARACTERS} characters",
            found=f"{len(text)}",
            fix="Pass the policy's text alone.",
            rule="too-large",
        )
    found: list[Token] = []
    at, line, line_start = 0, 1, 0
    while True:
        skipped = _SKIPPED.match(text, at)
        assert skipped is not None
        line, line_start = _counted(text, at, skipped.end(), line, line_start)
        at = skipped.end()
        place = Place(line, at - line_start + 1)
        if at == len(text):
            found.append(Token("end", "", place))
            return found
        token = _token(text, at, place)
        found.append(token)
        at += len(token.text)


def _counted(text: str, start: int, end: int, line: int, line_start: int) -> tuple[int, int]:
    """Return the line that `end` is in, and where that line starts."""
    breaks = text.count("\n", start, end)
    return (line + breaks, text.rfind("\n", start, end) + 1) if breaks else (line, line_start)


def _token(text: str, at: int, place: Place) -> Token:
    if name := _NAME.match(text, at):
        return Token("name", name.group(), place)
    if integer := _INTEGER.match(text, at):
        return _integer(integer.group(), place)
    if symbol := _SYMBOL.match(text, at):
        return Token(symbol.group(), symbol.group(), place)
    if string := _STRING.match(text, at):
        return Token("string", string.group(), place, _ESCAPE.sub(r"\1", string.group(1)))
    raise _no_token(text, at, place)


def _integer(digits: str, place: Place) -> Token:
    if len(digits) > 20 or int(digits) not in INTEGERS:
        raise syntax_error(
            place,
            expected="an integer of 64 bits",
            found=f"{digits[:24]}",
            fix="Write a smaller number, or a text.",
            rule="integer",
        )
    return Token("integer", digits, place, int(digits))


def _no_token(text: str, at: int, place: Place) -> PolicyError:
    if text[at] == '"':
        return _bad_string(text, at, place)
    if text[at] in _TYPOGRAPHIC:
        return syntax_error(
            place,
            expected='a text in straight quotes, "…"',
            found=f"the typographic quote {text[at]}",
            fix="Write it anew with straight quotes: it was pasted from a page or a word processor.",
            rule="quote",
        )
    return syntax_error(
        place,
        expected="a name, a number, a text in quotes or a symbol of the grammar",
        found=ascii(text[at]),
        fix="Remove it, or put it into quotes.",
        rule="character",
    )


def _bad_string(text: str, at: int, place: Place) -> PolicyError:
    """Return what is wrong with a text in quotes: a backslash, or that it has no end in its line."""
    good = re.compile(r'(?:[^"\\\r\n]|\\["\\])*').match(text, at + 1)
    assert good is not None
    if text[good.end() : good.end() + 1] == "\\":
        return syntax_error(
            Place(place.line, place.column + good.end() - at),
            expected='a backslash before " or before another backslash',
            found=ascii(text[good.end() : good.end() + 2]),
            fix="Double the backslash.",
            rule="escape",
        )
    return syntax_error(
        place,
        expected="a text that ends in its line",
        found="a quote without another",
        fix='Close it with ", or put a backslash before a quote inside it.',
        rule="string",
    )
