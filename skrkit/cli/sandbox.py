"""`skrkit sandbox`: start, look at, end and empty the embedded Azure; lead any program into it."""

from __future__ import annotations

import json
import os
import shlex
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from skrkit.sandbox.endpoint import Endpoint

_SHELLS = ("sh", "fish", "powershell")


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command group to the command line."""
    from skrkit.cli.sandbox_fault import add_arguments as add_fault_arguments
    from skrkit.cli.sandbox_principal import add_arguments as add_principal_arguments

    parser = commands.add_parser(
        "sandbox", help="run the embedded Azure: up, status, down, reset, env, fault, setting, principal, exec"
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    def action(name: str, run: Any, text: str) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = actions.add_parser(name, help=text, description=text.capitalize() + ".")
        made.set_defaults(func=run)
        return made

    up = action("up", _up, "start the sandbox, or find the one that runs")
    up.add_argument(
        "--port", type=_port, metavar="PORT", help="the outer door's port (default: the one it had, or any)"
    )
    up.add_argument("--seed", metavar="TEXT", help="draw all randomness from this text: for lessons, never for secrets")
    up.add_argument("--clock", metavar="INSTANT", help="a clock that stands still, such as 2026-01-01T12:00:00Z")
    down = action("down", _down, "end the sandbox; its state stays")
    status = action("status", _status, "say what runs, where, and which VMs there are")
    reset = action("reset", _reset, "end the sandbox and remove its state: tenant, vaults, keys, VMs")
    reset.add_argument("--yes", action="store_true", help="do not ask")
    env = action("env", _env, 'print what leads a shell into the sandbox: eval "$(skrkit sandbox env)"')
    env.add_argument("--vm", metavar="NAME", help="from inside this VM, NAME or GROUP/NAME: its IMDS, its vTPM")
    env.add_argument("--shell", choices=_SHELLS, default="sh")
    fault = action("fault", _fault, "switch a named fault on or off: what Azure says when that is wrong")
    add_fault_arguments(fault)
    principal = action("principal", _principal, "callers with roles of their own: create, list, delete")
    add_principal_arguments(principal)
    setting = action("setting", _setting, "list what can be as strict as Azure, or switch one of them")
    setting.add_argument("name", nargs="?", metavar="NAME", help="vault-limits (429 as in Azure), or role-delay")
    setting.add_argument("state", nargs="?", choices=("on", "off"))
    run = action("exec", _exec, "run any program in the sandbox")
    run.add_argument("--vm", metavar="NAME", help="from inside this VM, NAME or GROUP/NAME: its IMDS, its vTPM")
    run.add_argument("command", nargs="...", metavar="-- COMMAND", help="the program and its arguments")
    for each in (up, down, status, reset, env, fault, setting):
        each.add_argument("--json", action="store_true", help="print one JSON document")


def _port(text: str) -> int:
    from argparse import ArgumentTypeError

    if not text.isascii() or not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise ArgumentTypeError(f"{text!r} is no port: 1 to 65535, and below 1024 for root alone")
    return int(text)


def _say(document: dict[str, Any], text: str, as_json: bool) -> int:
    print(json.dumps(document, indent=2) if as_json else text)
    return 0


def _up(arguments: argparse.Namespace) -> int:
    from skrkit.sandbox import process

    endpoint = process.up(port=arguments.port, seed=arguments.seed, clock=arguments.clock)
    text = f"The sandbox runs. Its door is {endpoint.proxy_url}; its state is in {endpoint.home}."
    text = "\n".join([text, *_made_with(endpoint.seed, endpoint.clock)])
    document = {"running": True, "proxy": endpoint.proxy_url, "home": str(endpoint.home)}
    return _say(document | {"seed": endpoint.seed, "clock": endpoint.clock}, text, arguments.json)


def _down(arguments: argparse.Namespace) -> int:
    from skrkit.sandbox import process

    ran = process.down()
    text = "The sandbox has ended. Its state stays." if ran else "No sandbox runs."
    return _say({"ran": ran}, text, arguments.json)


def _status(arguments: argparse.Namespace) -> int:
    from skrkit.sandbox import process

    said = process.status()
    if not said["running"]:
        kept = "State of an earlier one is kept" if said["state"] else "There is no state yet"
        return _say(said, f"No sandbox runs. {kept} in {said['home']}.\nStart it: skrkit sandbox up", arguments.json)
    memory = f", {said['resident_mb']} MiB" if said["resident_mb"] else ""
    lines = [
        f"The sandbox runs since {said['started']}: process {said['pid']}{memory}.",
        f"  door          {said['proxy']}",
        f"  CA file       {said['ca_file']}",
        f"  tenant        {said['tenant']}",
        f"  subscription  {said['subscription']}",
        *_made_with(said["seed"], said["clock"]),
        *(f"  VM {vm['name']}: door {vm['proxy']}, vTPM {vm['tcti']}" for vm in said["vms"]),
        *(f"  setting on: {name}" for name in said.get("settings", ())),
        *(f"  fault on: {name}" for name in said.get("faults", ())),  # a process of before an update has none
    ]
    return _say(said, "\n".join(lines), arguments.json)


def _made_with(seed: str, clock: str) -> list[str]:
    """Return what there is to say of a sandbox that is not made of this computer's randomness and time."""
    lines = [f"  seeded        from {seed!r}: not for anything but lessons, whoever knows the seed knows every key"]
    return lines[: bool(seed)] + [f"  clock         stands still at {clock}"][: bool(clock)]


def _reset(arguments: argparse.Namespace) -> int:
    from skrkit.errors import UsageError
    from skrkit.sandbox import process
    from skrkit.sandbox.endpoint import default_home

    if not arguments.yes and not _confirmed(f"Remove everything in {default_home()}? [y/N] "):
        raise UsageError(
            what="sandbox reset",
            where=str(default_home()),
            expected="a yes",
            found="none",
            fix="skrkit sandbox reset --yes",
        )
    removed = process.reset()
    return _say({"removed": removed}, f"Removed: {', '.join(removed) or 'nothing was there'}.", arguments.json)


def _confirmed(question: str) -> bool:
    if not sys.stdin.isatty():
        return False
    print(question, end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _env(arguments: argparse.Namespace) -> int:
    from skrkit.sandbox.environment import environment_of
    from skrkit.sandbox.process import ensure_running

    variables, removed = environment_of(ensure_running(), arguments.vm)
    if arguments.json:
        print(json.dumps({"set": variables, "unset": list(removed)}, indent=2))
        return 0
    for line in _exports(variables, removed, arguments.shell):
        print(line)
    return 0


def _exports(variables: dict[str, str], removed: Iterable[str], shell: str) -> list[str]:
    if shell == "powershell":
        quoted = {name: value.replace("'", "''") for name, value in variables.items()}
        return [f"Remove-Item Env:{name} -ErrorAction SilentlyContinue" for name in removed] + [
            f"$env:{name} = '{value}'" for name, value in quoted.items()
        ]
    if shell == "fish":
        return [f"set -e {name}" for name in removed] + [
            f"set -gx {name} {shlex.quote(value)}" for name, value in variables.items()
        ]
    return [f"unset {' '.join(removed)}"] + [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]


def _fault(arguments: argparse.Namespace) -> int:
    from skrkit.cli.sandbox_fault import fault

    return fault(arguments)


def _setting(arguments: argparse.Namespace) -> int:
    from skrkit.cli.sandbox_setting import setting

    return setting(arguments.name, arguments.state, as_json=arguments.json)


def _principal(arguments: argparse.Namespace) -> int:
    from skrkit.cli.sandbox_principal import principal

    return principal(arguments, _exports)


def _exec(arguments: argparse.Namespace) -> int:
    from skrkit.errors import UsageError
    from skrkit.sandbox.environment import environment_of, signed_in_as
    from skrkit.sandbox.process import ensure_running

    command = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    if not command:
        raise UsageError(
            what="sandbox exec",
            where="the command line",
            expected="a program after --",
            found="none",
            fix="skrkit sandbox exec -- curl -s https://login.microsoftonline.com/common/discovery/instance",
        )
    endpoint: Endpoint = ensure_running()
    variables, removed = environment_of(endpoint, arguments.vm)
    if not arguments.vm:  # in the shell of a principal, programs are that principal
        variables |= signed_in_as(endpoint, os.environ) or {}
    environment = {name: value for name, value in os.environ.items() if name not in removed} | variables
    return _run(command, environment)


def _run(command: list[str], environment: dict[str, str]) -> int:
    """Become the program where the system can, so that signals and exit code are its own; else wait for its end."""
    import shutil

    from skrkit.errors import UsageError

    found = shutil.which(command[0])
    if found is None:
        raise UsageError(
            what="sandbox exec",
            where="the program",
            expected="one that is on the PATH",
            found=command[0],
            fix="Install it, or give its full path.",
        )
    try:
        return _wait_for(found, command, environment) if os.name == "nt" else _become(found, command, environment)
    except OSError as cause:
        raise UsageError(
            what="sandbox exec",
            where=found,
            expected="a program that this system can run",
            found=str(cause.strerror or cause),
            fix="Give the interpreter as the program, and the script as its first argument.",
        ) from cause


def _become(found: str, command: list[str], environment: dict[str, str]) -> int:
    import signal

    sys.stdout.flush()
    sys.stderr.flush()
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and what is ignored stays so in the program
    os.execve(found, command, environment)  # noqa: S606 - what the user asked to run


def _wait_for(found: str, command: list[str], environment: dict[str, str]) -> int:
    import signal
    import subprocess

    child = subprocess.Popen([found, *command[1:]], env=environment)  # noqa: S603 - what the user asked to run
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the program, not to us
    try:
        return child.wait()
    finally:
        signal.signal(signal.SIGINT, previous)
