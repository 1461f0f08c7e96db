"""`skrkit sandbox fault`: break one thing of the sandbox by name, and mend it again."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

    from skrkit.wire import Json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `skrkit sandbox fault` takes."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="faults to switch on: key.disabled")
    parser.add_argument(
        "--list", action="store_true", help="every fault: what it does, which step shows it, whether it is on"
    )
    parser.add_argument("--off", action="append", default=[], metavar="NAME", help="switch this fault off again")
    parser.add_argument("--off-all", action="store_true", help="switch every fault off")


def fault(arguments: argparse.Namespace) -> int:
    """Return 0 after the faults were switched, or listed."""
    asked = (bool(arguments.names), arguments.list, bool(arguments.off), arguments.off_all)
    if asked.count(True) != 1:
        raise _one_thing()
    if arguments.list:
        return _list(as_json=arguments.json)
    if arguments.names:
        return _on(arguments.names, as_json=arguments.json)
    return _off(arguments.off, as_json=arguments.json)


def _one_thing() -> Exception:
    from skrkit.errors import UsageError

    return UsageError(
        what="sandbox fault",
        where="the command line",
        expected="names, or --list, or --off NAME, or --off-all",
        found="none of them, or more than one",
        fix="skrkit sandbox fault --list",
    )


def _list(*, as_json: bool) -> int:
    from skrkit.sandbox.faults.client import listed
    from skrkit.sandbox.faults.showing import view_of_faults
    from skrkit.sandbox.faults.table import all_faults
    from skrkit.sandbox.process import running

    # Where none runs, none is started for a list: which faults its state has on is then not known.
    faults = listed() if running() else [each.to_json() | {"on": None} for each in all_faults()]
    return _print({"faults": list(faults)}, view_of_faults(faults), as_json=as_json)


def _on(names: list[str], *, as_json: bool) -> int:
    from skrkit.sandbox.faults.client import switch_on
    from skrkit.sandbox.faults.showing import view_of_switched_on
    from skrkit.sandbox.faults.table import fault_named

    for name in names:  # all of them, before the first is switched on
        fault_named(name)
    faults = [switch_on(name) for name in names]
    return _print({"faults": list(faults)}, *map(view_of_switched_on, faults), as_json=as_json)


def _off(names: list[str], *, as_json: bool) -> int:
    from skrkit.sandbox.faults.client import switch_all_off, switch_off
    from skrkit.sandbox.faults.showing import view_of_switched_off

    found = {name: switch_off(name) for name in names} if names else switch_all_off()
    return _print({"found": dict(found)}, view_of_switched_off(found), as_json=as_json)


def _print(document: dict[str, Json], *views: Any, as_json: bool) -> int:
    from skrkit.render.plain import write

    if as_json:
        print(json.dumps(document, indent=2))
        return 0
    for number, view in enumerate(views):
        if number:
            print()
        write(view, sys.stdout)
    return 0
