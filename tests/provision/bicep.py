"""A compiler for the part of Bicep that skrkit's templates use: text to the ARM template that it stands for.

It is written from Microsoft's description of the language, for these tests: what it does not know is an error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

DEPLOYMENTS = "Microsoft.Resources/deployments"
DEPLOYMENTS_VERSION = "2022-09-01"
SCHEMA = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#"
_TOKEN = re.compile(
    r"(?P<space>[ \t]+)|(?P<comment>//[^\n]*)|(?P<line>\n)|(?P<text>'(?:\\.|\$\{[^}]*\}|[^'\\])*')|(?P<number>\d+)"
    r"|(?P<name>[A-Za-z_]\w*)|(?P<mark>==|!=|&&|\|\||[@=(){}\[\]:,.?!])"
)
_DECORATORS = {"allowed": "allowedValues", "minLength": "minLength", "maxLength": "maxLength",
               "minValue": "minValue", "maxValue": "maxValue"}  # fmt: skip


@dataclass
class Symbol:
    """A resource or a module by its name in the file."""

    type: str
    version: str
    names: list[str]
    existing: bool
    dependencies: set[str] = field(default_factory=set)

    @property
    def id(self) -> str:
        """The expression of its id."""
        return f"resourceId({', '.join([quoted(self.type), *self.names])})"


@dataclass
class Expr:
    """An expression as the text of ARM's language, without brackets; `literal` is a plain value instead."""

    text: str
    literal: Any = None


def quoted(text: str) -> str:
    """A text as a literal of ARM's language."""
    return "'" + text.replace("'", "''") + "'"


def compile_file(path: Path) -> dict[str, Any]:
    """The ARM template of a Bicep file, with those of its modules in it."""
    return _File(path).compile()


class _File:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.tokens = [
            (str(found.lastgroup), found[0])
            for found in _whole(path.read_text())
            if found.lastgroup not in ("space", "comment")
        ]
        self.tokens.append(("end", ""))
        self.at = 0
        self.parameters: dict[str, Any] = {}
        self.variables: dict[str, Any] = {}
        self.symbols: dict[str, Symbol] = {}
        self.resources: list[dict[str, Any]] = []
        self.outputs: dict[str, Any] = {}
        self.used: set[str] = set()

    # tokens

    def peek(self, *texts: str) -> bool:
        return self.tokens[self.at][1] in texts and self.tokens[self.at][0] not in ("text", "end")

    def take(self, kind: str = "", text: str = "") -> str:
        found_kind, found = self.tokens[self.at]
        assert kind in ("", found_kind), (self.path.name, self.at, found, kind)
        assert text in ("", found), (self.path.name, self.at, found, text)
        self.at += 1
        return found

    def lines(self) -> None:
        while self.tokens[self.at][0] == "line":
            self.at += 1

    # statements

    def compile(self) -> dict[str, Any]:
        decorators: dict[str, Any] = {}
        self.lines()
        while self.tokens[self.at][0] != "end":
            if self.peek("@"):
                self.take()
                name = self.take("name")
                self.take(text="(")
                decorators[name] = None if self.peek(")") else value_of(self.expression())
                self.take(text=")")
            else:
                getattr(self, f"_{self.take('name')}")(decorators)
                decorators = {}
            self.lines()
        made: dict[str, Any] = {"$schema": SCHEMA, "contentVersion": "1.0.0.0", "parameters": self.parameters}
        if self.variables:
            made["variables"] = self.variables
        made["resources"] = self.resources
        if self.outputs:
            made["outputs"] = self.outputs
        return made

    def _param(self, decorators: dict[str, Any]) -> None:
        name, kind = self.take("name"), self.take("name")
        made: dict[str, Any] = {"type": f"secure{kind.capitalize()}" if "secure" in decorators else kind}
        if self.peek("="):
            self.take()
            made["defaultValue"] = value_of(self.expression())
        made |= {_DECORATORS[key]: value for key, value in decorators.items() if key in _DECORATORS}
        if "description" in decorators:
            made["metadata"] = {"description": decorators["description"]}
        self.parameters[name] = made

    def _var(self, _decorators: dict[str, Any]) -> None:
        name = self.take("name")
        self.take(text="=")
        self.variables[name] = value_of(self.expression())

    def _output(self, _decorators: dict[str, Any]) -> None:
        name, kind = self.take("name"), self.take("name")
        self.take(text="=")
        self.outputs[name] = {"type": kind, "value": value_of(self.expression())}

    def _resource(self, _decorators: dict[str, Any]) -> None:
        symbol = self.take("name")
        kind, version = self.take("text")[1:-1].split("@")
        existing = self.peek("existing")
        if existing:
            self.take()
        self.take(text="=")
        self.used = set()
        condition = self._condition()
        body = self.object_members()
        parent, scope = body.pop("parent", None), body.pop("scope", None)
        name = body.pop("name")
        names = [text_of(name)]
        if parent is not None:
            owner = self.symbols[parent.text]
            names = [*owner.names, *names]
            if not owner.existing:
                self.used.add(parent.text)
        made = Symbol(kind, version, names, existing, self.used)
        self.symbols[symbol] = made
        if existing:
            return
        shown = value_of(name) if len(names) == 1 else f"[format('{_slots(len(names))}', {', '.join(names)})]"
        resource: dict[str, Any] = {"condition": value_of(condition)} if condition else {}
        resource |= {"type": kind, "apiVersion": version, "name": shown}
        if scope is not None:
            resource["scope"] = f"[{self.symbols[scope.text].id}]"
        resource |= {key: value_of(item) for key, item in body.items()}
        self._add(resource)

    def _condition(self) -> Expr | None:
        if not self.peek("if"):
            return None
        self.take()
        self.take(text="(")
        condition: Expr = self.expression()
        self.take(text=")")
        return condition

    def _module(self, _decorators: dict[str, Any]) -> None:
        symbol = self.take("name")
        file = self.take("text")[1:-1]
        self.take(text="=")
        self.used = set()
        condition = self._condition()
        body = self.object_members()
        name = body.pop("name")
        given = {key: {"value": value_of(item)} for key, item in body.pop("params").items()}
        for item in body.pop("dependsOn", []):
            self.used.add(item.text)
        assert not body, body
        self.symbols[symbol] = Symbol(DEPLOYMENTS, DEPLOYMENTS_VERSION, [text_of(name)], False, self.used)
        properties = {
            "expressionEvaluationOptions": {"scope": "inner"},
            "mode": "Incremental",
            "parameters": given,
            "template": compile_file(self.path.parent / file),
        }
        module: dict[str, Any] = {"condition": value_of(condition)} if condition else {}
        module |= {"type": DEPLOYMENTS, "apiVersion": DEPLOYMENTS_VERSION, "name": value_of(name)}
        self._add(module | {"properties": properties})

    def _add(self, resource: dict[str, Any]) -> None:
        if self.used:
            resource["dependsOn"] = sorted(f"[{self.symbols[name].id}]" for name in self.used)
        self.resources.append(resource)

    # expressions

    def object_members(self) -> dict[str, Any]:
        self.take(text="{")
        self.lines()
        members: dict[str, Any] = {}
        while not self.peek("}"):
            kind = self.tokens[self.at][0]
            key = value_of(self.string(self.take("text"))) if kind == "text" else self.take("name")
            self.take(text=":")
            members[key] = self.expression()
            self.take("line")
            self.lines()
        self.take(text="}")
        return members

    def array_items(self) -> list[Any]:
        self.take(text="[")
        self.lines()
        items: list[Any] = []
        while not self.peek("]"):
            items.append(self.expression())
            self.take("line")
            self.lines()
        self.take(text="]")
        return items

    def expression(self) -> Any:
        left = self.operand()
        if self.peek("=="):
            self.take()
            left = Expr(f"equals({text_of(left)}, {text_of(self.operand())})")
        if self.peek("?"):
            self.take()
            yes = self.expression()
            self.take(text=":")
            no = self.expression()
            left = Expr(f"if({text_of(left)}, {text_of(yes)}, {text_of(no)})")
        return left

    def operand(self) -> Any:
        if self.peek("{"):
            return self.object_members()
        if self.peek("["):
            return self.array_items()
        if self.peek("!"):
            self.take()
            return Expr(f"not({text_of(self.operand())})")
        kind, text = self.tokens[self.at]
        self.at += 1
        if kind == "text":
            return self.string(text)
        if kind == "number":
            return Expr(text, int(text))
        assert kind == "name", (self.path.name, text)
        return self._members(*self._named(text))

    def _named(self, name: str) -> tuple[Expr, str]:
        """An identifier: literal, call, parameter, variable, or a symbol, whose name is returned too."""
        if name in ("true", "false", "null"):
            return Expr(f"{name}()", {"true": True, "false": False, "null": None}[name]), ""
        if self.peek("("):
            self.take()
            arguments: list[str] = []
            while not self.peek(")"):
                arguments.append(text_of(self.expression()))
                if self.peek(","):
                    self.take()
            self.take(text=")")
            return Expr(f"{name}({', '.join(arguments)})"), ""
        if name in self.parameters:
            return Expr(f"parameters('{name}')"), ""
        if name in self.variables:
            return Expr(f"variables('{name}')"), ""
        assert name in self.symbols, (self.path.name, name)
        return Expr(name), name

    def _members(self, value: Expr, symbol: str) -> Expr:
        path: list[str] = []
        while self.peek("."):
            self.take()
            path.append(self.take("name"))
        if not symbol:
            return Expr("".join([value.text, *(f".{part}" for part in path)]), value.literal if not path else None)
        if not path:
            return value  # a parent, or something to depend on
        found = self.symbols[symbol]
        if not found.existing:
            self.used.add(symbol)
        first, rest = path[0], "".join(f".{part}" for part in path[1:])
        if first == "id":
            return Expr(found.id)
        if found.type == DEPLOYMENTS:
            assert first == "outputs"
            return Expr(f"reference({found.id}, '{found.version}').outputs{rest}.value")
        if first == "properties":
            return Expr(f"reference({found.id}, '{found.version}'){rest}")
        return Expr(f"reference({found.id}, '{found.version}', 'full').{first}{rest}")

    def string(self, raw: str) -> Expr:
        inner = raw[1:-1]
        parts = re.split(r"\$\{([^}]*)\}", inner)
        if len(parts) == 1:
            return Expr(quoted(inner), inner)
        slots = ""
        arguments: list[str] = []
        for at, part in enumerate(parts):
            if at % 2:
                slots += f"{{{len(arguments)}}}"
                arguments.append(text_of(self._inside(part)))
            else:
                slots += part
        return Expr(f"format({quoted(slots)}, {', '.join(arguments)})")

    def _inside(self, source: str) -> Any:
        kept, at = self.tokens, self.at
        self.tokens = [(str(found.lastgroup), found[0]) for found in _whole(source)] + [("end", "")]
        self.at = 0
        made = self.expression()
        self.tokens, self.at = kept, at
        return made


def _whole(source: str) -> list[re.Match[str]]:
    found = list(_TOKEN.finditer(source))
    assert "".join(match[0] for match in found) == source, "there is something that the tests do not know of Bicep"
    return found


def _slots(count: int) -> str:
    return "/".join(f"{{{at}}}" for at in range(count))


def value_of(made: Any) -> Any:
    """A compiled expression as it stands in a template."""
    if isinstance(made, dict):
        return {key: value_of(item) for key, item in made.items()}
    if isinstance(made, list):
        return [value_of(item) for item in made]
    if not isinstance(made, Expr):
        return made
    if made.literal is not None or made.text == "null()":
        return f"[{made.literal}" if isinstance(made.literal, str) and made.literal.startswith("[") else made.literal
    return f"[{made.text}]"


def text_of(made: Any) -> str:
    """A compiled expression as it stands in another one."""
    if isinstance(made, dict):
        members = ", ".join(f"{_key(key)}, {text_of(item)}" for key, item in made.items())
        return f"createObject({members})"
    if isinstance(made, list):
        return f"createArray({', '.join(text_of(item) for item in made)})"
    if isinstance(made, str):
        return quoted(made)
    return str(made.text)


def _key(key: str) -> str:
    return key[1:-1] if key.startswith("[") else quoted(key)
