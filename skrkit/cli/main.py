"""The `skrkit` command: choose one command, run it, and word what goes wrong.

Nothing is imported here that the answer does not need. `skrkit --version` reads one string; a command loads its own
module and no other.
"""

from __future__ import annotations

import itertools
import sys

TYPE_CHECKING = False  # typing's own, without importing typing: it takes longer than all of `skrkit --version`
if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Sequence
    from typing import Any, NoReturn

    from skrkit.errors import SkrkitError

# Command: (one line of help, one example). Its module is skrkit.cli.<command>, which has `add_parser`.
COMMANDS = {
    "inspect": ("Show what a file is and what every field of it means", "skrkit inspect hcl-report.bin"),
    "verify": ("Verify attestation evidence, step by step", "skrkit verify hcl-report.bin --fetch"),
    "policy": ("Lint, explain, derive and compare release policies", "skrkit policy lint policy.json"),
    "maa": ("Lint, try, read and set policies of attestation providers", "skrkit maa lint policy.txt"),
    "sandbox": ("Run the embedded Azure: up, status, down, reset", "skrkit sandbox up"),
    "lab": ("Open the notebooks in JupyterLab, in the browser", "skrkit lab"),
    "walkthrough": ("Run secure key release and show every artefact on the way", "skrkit walkthrough"),
    "deploy": ("Deploy vault, access, key and confidential VM by one template", "skrkit deploy --what-if"),
    "key": ("Make a new version of a releasable key, change its policy", "skrkit key new-version"),
    "preflight": ("May this identity release this key? Who lacks which permission", "skrkit preflight"),
    "teardown": ("Remove what walkthrough and deploy made; say what remains", "skrkit teardown"),
    "doctor": ("Check, in order, everything that a release needs", "skrkit doctor"),
    "explain": ("Say why a release failed, with the proof and the fix", "skrkit explain --live"),
    "bundle": ("Put all the evidence into one file; verify and replay it", "skrkit bundle create"),
}
INTERRUPTED = 130  # 128 + SIGINT, as a shell says it
BROKEN_PIPE = 141  # 128 + SIGPIPE: the reader went away, which is no failure of ours
BUG = 1


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit code of the command in `argv` (`sys.argv` without its first item by default).

    0 is success, 1 a bug, 2 to 7 one of the six errors, 130 an interruption, 141 a reader that went away.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] in (["--version"], ["-V"]):
        from skrkit import __version__

        print(f"skrkit {__version__}")
        return 0
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_help())
        return 0
    return _guarded(arguments)


def _help() -> str:
    lines = [
        "skrkit: learn, run and troubleshoot Azure Secure Key Release",
        "",
        "Usage: skrkit COMMAND [OPTIONS]      skrkit COMMAND --help      skrkit --version",
        "",
    ]
    for name, (text, example) in COMMANDS.items():
        lines += [f"  {name:12} {text}", f"  {'':12} $ {example}", ""]
    lines.append("Every command takes --json and then prints one JSON document.")
    return "\n".join(lines)


def _guarded(arguments: list[str]) -> int:
    """Run the command and turn what it raises into words and an exit code."""
    _open_closed_streams()
    try:
        code = _run(arguments)
        sys.stdout.flush()  # here, so that a reader that went away is noticed here
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        return _close_quietly()
    except Exception as error:  # noqa: BLE001 - the last line of defence: whatever it is, it gets words and a code
        return _worded_failure(error, as_json="--json" in itertools.takewhile(lambda word: word != "--", arguments))
    return code


def _worded_failure(error: Exception, *, as_json: bool) -> int:
    try:
        code = _failed(error, as_json=as_json)
        sys.stdout.flush()
    except BrokenPipeError:  # of the error's own JSON
        return _close_quietly()
    return code


def _open_closed_streams() -> None:
    """Give a program that was started with stdout or stderr closed one that leads nowhere: Python leaves None there."""
    import os

    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - open until the program ends


def _run(arguments: list[str]) -> int:
    command = arguments[0]
    if command not in COMMANDS:
        raise _unknown(command)
    from importlib import import_module

    parser = _parser()
    commands = parser.add_subparsers(dest="command", required=True)
    import_module(f"skrkit.cli.{command}").add_parser(commands)
    try:
        namespace, unknown = parser.parse_known_args(arguments)
    except SystemExit as done:  # --help has printed; argparse leaves this way only
        return int(done.code or 0)
    if unknown:
        commands.choices[command].error(f"unknown arguments: {' '.join(unknown)}")  # its usage, not the parent's
    code: int = namespace.func(namespace)
    return code


def _parser() -> ArgumentParser:
    """Return a parser whose complaints are a `UsageError`, worded as every other error of skrkit."""
    from argparse import ArgumentParser, HelpFormatter

    class Formatter(HelpFormatter):
        def __init__(self, prog: str) -> None:
            super().__init__(prog, width=_columns())  # or else argparse imports shutil, help or not: 4 ms

    class Parser(ArgumentParser):
        def __init__(self, **options: Any) -> None:
            # An option that is spelt in part would be taken for --json by argparse and for another by us.
            super().__init__(**{"formatter_class": Formatter, "allow_abbrev": False, **options})

        def error(self, message: str) -> NoReturn:
            from skrkit.errors import UsageError

            raise UsageError(
                what="command line",
                where=f"`{self.prog}`",
                expected=" ".join(self.format_usage().split()).removeprefix("usage: "),
                found=message,
                fix=f"See `{self.prog} --help`.",
            )

    return Parser(prog="skrkit")


def _columns() -> int:
    import os

    try:
        return min(os.get_terminal_size().columns, 100) - 2
    except OSError:  # stdout is no terminal
        return 78


def _unknown(command: str) -> SkrkitError:
    from difflib import get_close_matches

    from skrkit.errors import UsageError

    near = get_close_matches(command, COMMANDS, n=1, cutoff=0.5)
    return UsageError(
        what="command",
        where="the first argument",
        expected=", ".join(COMMANDS),
        found=repr(command),
        fix=f"Did you mean `skrkit {near[0]}`?" if near else "Run `skrkit` alone to see what each command does.",
    )


def _failed(error: Exception, *, as_json: bool) -> int:
    import errno

    from skrkit.errors import SkrkitError

    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        error = _disk_full()
    if isinstance(error, SkrkitError):
        print(worded(error), file=sys.stderr)
        members: dict[str, str] = error.to_json()
        code = error.exit_code
    else:
        members = _bug(error)
        code = BUG
    if as_json:
        import json

        print(json.dumps(members, indent=2))
    return code


def _disk_full() -> SkrkitError:
    from skrkit.errors import UsageError

    return UsageError(
        what="output",
        where="the file or device written to",
        expected="room for it",
        found="no space left on the device",
        fix="Make room, or write elsewhere.",
    )


def worded(error: SkrkitError) -> str:
    """Return an error in the form that every command prints: what and where, expected, found, fix, source."""
    from skrkit.render.layout import harmless

    lines = [f"error: {error.what} at {error.where}"]
    for name in ("expected", "found", "fix", "source"):
        text = str(getattr(error, name))
        if text:
            lines.append(f"  {name}: {text}")
    return "\n".join(harmless(line) for line in lines)


def _bug(error: Exception) -> dict[str, str]:
    """Print that this is a bug, and where. The message may hold input or a secret: it shows with SKRKIT_DEBUG=1."""
    import os
    import traceback

    place = traceback.extract_tb(error.__traceback__)[-1]
    at = f"{os.path.basename(place.filename)}, line {place.lineno}"
    print(f"error: this is a bug in skrkit: {type(error).__name__} at {at}", file=sys.stderr)
    if os.environ.get("SKRKIT_DEBUG") == "1":
        traceback.print_exception(error, file=sys.stderr)
    else:
        print("  fix: run again with SKRKIT_DEBUG=1 and report the traceback it prints", file=sys.stderr)
    return {"error": "Bug", "what": type(error).__name__, "where": at}


def _close_quietly() -> int:
    """Point stdout at nothing, so that Python's own flush at exit finds no broken pipe to complain about."""
    import os

    try:
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, sys.stdout.fileno())
    except (OSError, ValueError):  # a stdout without a descriptor has nothing to flush into a pipe
        pass
    return BROKEN_PIPE
