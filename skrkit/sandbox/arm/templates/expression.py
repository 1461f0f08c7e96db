"""The expressions of a template, text to tree: calls, literals, members and indexes. Nothing is evaluated here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias

from skrkit.sandbox.arm.templates.refusals import ExpressionError

MAX_CHARACTERS = 24_576  # of one expression: a documented limit of templates
_MAX_DEPTH = 100
_TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<number>-?\d+)|(?P<name>[A-Za-z_]\w*)|(?P<mark>\.\?|\[\?|[()\[\],.]))"
)
_MARKS = {
    "(": "LeftParenthesis",
    ")": "RightParenthesis",
    "[": "LeftSquareBracket",
    "[?": "LeftSquareBracket",
    "]": "RightSquareBracket",
    ",": "Comma",
    ".": "Dot",
    ".?": "Dot",
}


@dataclass(frozen=True, slots=True)
class Literal:
    """A text or a whole number."""

    value: str | int


@dataclass(frozen=True, slots=True)
class Call:
    """A function by its name, as written; a user-defined one has its namespace before a dot."""

    name: str
    arguments: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Member:
    """A member or an item of a value. `safe` is `.?` and `[?`: nothing where there is none."""

    target: Expression
    key: Expression
    safe: bool = False


Expression: TypeAlias = Literal | Call | Member


def is_expression(text: str) -> bool:
    """Return whether a text of a template is an expression: in brackets, of which the first is not doubled."""
    return len(text) > 1 and text.startswith("[") and text.endswith("]") and not text.startswith("[[")


def plain(text: str) -> str:
    """Return what a text that is no expression says: `[[` at its start stands for `[`."""
    return text[1:] if text.startswith("[[") and text.endswith("]") else text


def parse_expression(text: str) -> Expression:
    """Return the tree of an expression, its brackets included in `text`. Raises `ExpressionError` in Azure's words."""
    if len(text) > MAX_CHARACTERS:  # the words are not known to the letter (inferred)
        raise ExpressionError(f"The language expression length limit of '{MAX_CHARACTERS}' is exceeded.")
    parser = _Parser(text[1:-1])
    tree = parser.expression(0)
    parser.expect("EndOfData")
    return tree


class _Parser:
    """One pass over the tokens, each a kind as Azure names it and its text."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._tokens = self._split()
        self._at = 0

    def _split(self) -> list[tuple[str, str]]:
        tokens: list[tuple[str, str]] = []
        at = 0
        while self._source[at:].strip():
            match = _TOKEN.match(self._source, at)
            if match is None:  # the words are not known to the letter (inferred)
                raise ExpressionError(
                    f"Unable to parse language expression '{self._source}': the character at position '{at}' is not "
                    "expected."
                )
            at = match.end()
            if match["text"] is not None:
                tokens.append(("LiteralString", match["text"][1:-1].replace("''", "'")))
            elif match["number"] is not None:
                tokens.append(("Integer", match["number"]))
            elif match["name"] is not None:
                tokens.append(("Identifier", match["name"]))
            else:
                tokens.append((_MARKS[match["mark"]], match["mark"]))
        return [*tokens, ("EndOfData", "")]

    def _kind(self) -> str:
        return self._tokens[self._at][0]

    def expect(self, kind: str) -> str:
        """Take the next token, which must be of this kind, and return its text."""
        actual, text = self._tokens[self._at]
        if actual != kind:
            raise ExpressionError(
                f"Unable to parse language expression '{self._source}': expected token '{kind}' and actual '{actual}'."
            )
        self._at += 1
        return text

    def expression(self, depth: int) -> Expression:
        """Return the tree from here: something, and the members and items that are asked of it."""
        if depth > _MAX_DEPTH:  # the words are not known to the letter (inferred)
            raise ExpressionError("The language expression is nested too deeply.")
        tree = self._first(depth)
        while self._kind() in ("Dot", "LeftSquareBracket"):
            kind = self._kind()
            safe = self.expect(kind).endswith("?")
            if kind == "Dot":
                tree = Member(tree, Literal(self.expect("Identifier")), safe)
            else:
                tree = Member(tree, self.expression(depth + 1), safe)
                self.expect("RightSquareBracket")
        return tree

    def _first(self, depth: int) -> Expression:
        if self._kind() == "LiteralString":
            return Literal(self.expect("LiteralString"))
        if self._kind() == "Integer":
            return Literal(int(self.expect("Integer")[:20]))
        name = self.expect("Identifier")
        while self._kind() == "Dot":
            self.expect("Dot")
            name += "." + self.expect("Identifier")
        self.expect("LeftParenthesis")
        arguments: list[Expression] = []
        if self._kind() != "RightParenthesis":
            arguments.append(self.expression(depth + 1))
        while self._kind() == "Comma":
            self.expect("Comma")
            arguments.append(self.expression(depth + 1))
        self.expect("RightParenthesis")
        return Call(name, tuple(arguments))
