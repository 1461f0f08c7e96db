"""`skrkit doctor`: check, in order, everything that a release needs; say what each check proves, and what mends it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from skrkit.cli.azure_cloud import add_azure_cloud, azure_of
from skrkit.cli.hsm_option import add_hsm, check_named, hsm_of

if TYPE_CHECKING:
    import argparse

    from skrkit.doctor.check import Check, CheckResult, Report
    from skrkit.doctor.visit import Names, Visit

_NAMES = ("resource_group", "vm", "vault", "key", "attestation", "user_identity")
_ELSEWHERE = (
    ("skrkit doctor --cloud sandbox", "every check in the embedded Azure; no account"),
    ("skrkit sandbox exec --vm cvm-1 -- skrkit doctor", "the same from inside its VM"),
    ("skrkit doctor --outside --vault … --vm … --key …", "your own Azure, as who prepares the keys"),
    ("skrkit doctor --inside", "in your confidential VM, where this machine is to be one"),
)


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "doctor",
        help="check everything that a release needs, in order",
        description="Check, in order, everything that a release needs: the machine, its evidence, its identity, "
        "Azure Attestation, the vault, the key and its policy. Decides by itself where it is. Nothing is changed but "
        "64 bytes in a confidential VM's vTPM (NV index 0x01400002), which every attestation writes. "
        "Exit code 0: every check is ok, or skipped for a reason. 4: a check failed, or could not be made "
        "(then 0 with --partial).",
    )
    side = parser.add_mutually_exclusive_group()
    side.add_argument("--inside", action="store_true", help="this machine is to be a confidential VM")
    side.add_argument("--outside", action="store_true", help="look from outside, as who prepares the keys")
    parser.add_argument("--cloud", choices=("sandbox", "azure"), help="the world (default: found out)")
    add_azure_cloud(parser)
    parser.add_argument("--release", action="store_true", help="make a real release too; the key is not kept")
    parser.add_argument("--policy", metavar="F", help="the key's release policy, where the key itself is not readable")
    parser.add_argument("--partial", action="store_true", help="exit 0 if nothing failed but checks were not made")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    names = parser.add_argument_group("names", "In Azure these are yours; the sandbox has its own.")
    for option in _NAMES:
        names.add_argument(f"--{option.replace('_', '-')}", metavar="NAME")
    add_hsm(names)
    names.add_argument("--subscription", metavar="ID", help="default: AZURE_SUBSCRIPTION_ID")
    names.add_argument("--tenant", metavar="ID", help="default: AZURE_TENANT_ID")
    parser.set_defaults(func=run)


def run(arguments: argparse.Namespace) -> int:
    """Make the checks and return the exit code: 0, or 4 where one failed or could not be made."""
    from skrkit.doctor.check import Report, run_checks
    from skrkit.doctor.checks import HERE, checks_for

    _quieten()
    talk = _Talk(quiet=arguments.json)
    with _visit(arguments) as visit:
        visit.release = arguments.release
        visit.policy = _policy(arguments)
        results = run_checks(HERE[:1], visit, talk.progress) if visit.calm else ()
        ordinary = visit.calm and not _is_cvm(results)
        if not ordinary:
            visit.calm = False
            checks = checks_for(
                inside=visit.inside is not None or visit.outside is None,
                outside=visit.outside is not None,
                hsm=bool(visit.names.hsm),
            )
            results = run_checks(checks, visit, talk.progress)
        report = Report(results=results, where="this machine" if ordinary else _where(visit))
    _print(report, as_json=arguments.json, ordinary=ordinary)
    if arguments.partial and not report.with_verdict("failed"):
        return 0
    return report.exit_code


def _quieten() -> None:
    """Keep the SDKs' own warnings off stderr: what they warn of is a check's failure, and worded there."""
    import logging

    for name in ("azure", "msal"):
        logging.getLogger(name).addHandler(logging.NullHandler())


def _visit(arguments: argparse.Namespace) -> Visit:
    import os

    from skrkit.doctor.host import host_of
    from skrkit.doctor.place import Side, in_azure, in_sandbox

    names, host = _names(arguments), host_of()
    side: Side = "inside" if arguments.inside else "outside" if arguments.outside else ""
    vm = os.environ.get("SKRKIT_VM", "")
    if arguments.cloud == "sandbox":
        return in_sandbox(names, side, host)
    if arguments.cloud is None and vm and side != "outside":  # inside `skrkit sandbox exec --vm`
        from dataclasses import replace

        group, _, name = vm.rpartition("/")
        named = replace(names, vm=names.vm or name, resource_group=names.resource_group or group)
        return in_sandbox(named, "inside", host)
    check_named(arguments)
    cloud = azure_of(arguments)
    calm = arguments.cloud is None and not side
    return in_azure(cloud, names, side, host, calm=calm)


def _names(arguments: argparse.Namespace) -> Names:
    from skrkit.doctor.visit import Names

    return Names(**{option: getattr(arguments, option) or "" for option in _NAMES}, hsm=hsm_of(arguments))


def _policy(arguments: argparse.Namespace) -> bytes:
    """Return the policy of --policy as JSON text; empty without one. It may be base64url, or a vault's bundle."""
    if not arguments.policy:
        return b""
    from skrkit.cli.reading import read_input
    from skrkit.policy.text import open_policy_text

    return open_policy_text(read_input(arguments.policy)).json


def _is_cvm(results: tuple[CheckResult, ...]) -> bool:
    """Return whether the first check took this machine for a confidential VM, or could not tell."""
    return all(result.outcome.facts.get("kind") not in ("ordinary", "vtpm-without-report") for result in results)


def _where(visit: Visit) -> str:
    places = []
    if visit.inside is not None:
        places.append(f"inside VM {visit.names.vm or 'of unknown name'}")
    if visit.outside is not None:
        places.append("from outside")
    return f"{' and '.join(places)}, {visit.either_side.world}" if places else "this machine"


def _print(report: Report, *, as_json: bool, ordinary: bool) -> None:
    if as_json:
        import json

        print(json.dumps(report.fields(), indent=2))
        return
    from skrkit.doctor.view import view_of_report
    from skrkit.render.plain import write

    write(view_of_report(report), sys.stdout)
    if ordinary:
        print("\nNothing is wrong with that: keys are released to confidential VMs, and can be watched from here:\n")
        for command, what in _ELSEWHERE:
            print(f"  {command:50} {what}")


class _Talk:
    """What is being checked, on stderr, where somebody watches; it is wiped when the check is done."""

    def __init__(self, *, quiet: bool) -> None:
        self._silent = quiet or not sys.stderr.isatty()

    def progress(self, check: Check, result: CheckResult | None) -> None:
        """Say what is being checked, and wipe it when there is a result."""
        if self._silent:
            return
        text = "" if result is not None else f"{check.title} …"
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
