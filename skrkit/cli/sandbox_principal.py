"""`skrkit sandbox principal`: callers with a role of their own, to see what Azure says to who is not its owner."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `skrkit sandbox principal` takes."""
    deeds = parser.add_subparsers(dest="deed", required=True, metavar="ACTION")
    create = deeds.add_parser(
        "create",
        help="make one, and print what signs a shell in as it",
        description='Make a principal and print what signs a shell in as it: eval "$(skrkit sandbox principal create '
        'reader --role Reader)". Its secret is told here and nowhere else.',
    )
    create.add_argument("name", metavar="NAME", help="what you call it")
    create.add_argument("--role", metavar="ROLE", default="", help="a role's name (default: none, which may nothing)")
    create.add_argument("--scope", metavar="ID", default="", help="a resource id (default: the subscription)")
    create.add_argument("--shell", choices=("sh", "fish", "powershell"), default="sh")
    delete = deeds.add_parser("delete", help="delete one, with its role assignments")
    delete.add_argument("name", metavar="NAME")
    listing = deeds.add_parser("list", help="say who there is, and with which roles")
    for each in (create, delete, listing):
        each.add_argument("--json", action="store_true", help="print one JSON document")


def principal(arguments: argparse.Namespace, exports: Callable[..., list[str]]) -> int:
    """Return 0 after the principal was made, deleted or listed. `exports` writes variables as a shell takes them."""
    from skrkit.sandbox import principals

    if arguments.deed == "create":
        return _create(arguments, exports)
    if arguments.deed == "delete":
        object_id = principals.delete(arguments.name)
        text = f"Deleted: {arguments.name}, object id {object_id}. Tokens that it has are good until they expire."
        print(json.dumps({"deleted": arguments.name, "object_id": object_id}, indent=2) if arguments.json else text)
        return 0
    found = principals.listed()
    if arguments.json:
        print(json.dumps({"principals": found}, indent=2))
        return 0
    from skrkit.render.plain import write

    write(_view(found), sys.stdout)
    return 0


def _create(arguments: argparse.Namespace, exports: Callable[..., list[str]]) -> int:
    from skrkit.sandbox import principals

    made = principals.create(arguments.name, role=arguments.role, scope=arguments.scope)
    if arguments.json:
        document = {"name": made.name, "object_id": made.object_id, "client_id": made.client_id}
        document |= {"role": made.role, "scope": made.scope}
        print(json.dumps({**document, "set": made.environment, "unset": list(made.removed)}, indent=2))
        return 0
    may = f"is {made.role} at {made.scope}" if made.role else "has no role"
    print(f"{made.name}, object id {made.object_id}, {may}. Its secret is not kept: keep it, or make another.",
          file=sys.stderr)  # fmt: skip
    for line in exports(made.environment, made.removed, arguments.shell):
        print(line)
    return 0


def _view(found: list[dict[str, Any]]) -> Any:
    from skrkit.render.view import Row, Rows, View

    rows = []
    for each in found:
        rows.append(Row(name=each["name"], value=each["object_id"]))
        rows += [Row(name=held["role"], value=held["scope"], depth=1) for held in each["roles"]]
    return View(
        heading="Principals of the sandbox",
        facts=(f"{len(found)} that sign in with a secret",),
        blocks=(Rows(rows=tuple(rows)),),
    )
