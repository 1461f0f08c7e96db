"""`skrkit preflight`: every permission that the four steps take, who has it, and what grants what is missing."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from skrkit.cli.azure_cloud import add_azure_cloud, azure_of
from skrkit.cli.hsm_option import add_hsm, hsm_of

if TYPE_CHECKING:
    import argparse

    from skrkit.cloud import Cloud
    from skrkit.provision.stage import Stage

_NAMES = ("resource_group", "vm", "vault", "key", "user_identity")
_NEEDED = ("resource_group", "vm", "vault", "key")


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "preflight",
        help="may this identity release this key? every permission of each step",
        description="May this identity release this key, and may you prepare it? Reads roles and access policies as "
        "Resource Manager has them, or the local roles of a Managed HSM, and changes nothing. Exit code 0: no "
        "permission is missing. 6: one is, or could not be read.",
    )
    parser.add_argument("--cloud", choices=("sandbox", "azure"), default="sandbox", help="the world (default: sandbox)")
    add_azure_cloud(parser)
    parser.add_argument("--step", type=int, choices=(1, 2, 3, 4), help="what this step takes, alone")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    names = parser.add_argument_group("names", "In Azure these are yours; the sandbox has its own.")
    for option in _NAMES:
        names.add_argument(f"--{option.replace('_', '-')}", metavar="NAME")
    add_hsm(names)
    names.add_argument("--subscription", metavar="ID", help="default: AZURE_SUBSCRIPTION_ID")
    names.add_argument("--tenant", metavar="ID", help="default: AZURE_TENANT_ID")
    parser.set_defaults(func=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the preflight and return the exit code: 0, or 6 where a permission is missing or not known."""
    import logging

    from skrkit.provision.preflight import ALL_STEPS, check
    from skrkit.provision.rights import view_of_preflight
    from skrkit.services.reader import Reader

    for name in ("azure", "msal"):  # what they warn of is raised too, and worded then
        logging.getLogger(name).addHandler(logging.NullHandler())
    cloud = _cloud(arguments)
    with Reader(cloud) as reader:
        found = check(reader, _stage(arguments), steps=(arguments.step,) if arguments.step else ALL_STEPS)
    if arguments.json:
        import json

        print(json.dumps({"cloud": cloud.world, **found.fields()}, indent=2))
    else:
        from skrkit.render.plain import write

        write(view_of_preflight(found), sys.stdout)
    return found.exit_code


def _cloud(arguments: argparse.Namespace) -> Cloud:
    from skrkit.cloud import Cloud

    if arguments.cloud == "sandbox":
        return Cloud.sandbox()
    _check_names(arguments)
    return azure_of(arguments)


def _check_names(arguments: argparse.Namespace) -> None:
    import os

    from skrkit.errors import UsageError

    needed = [name if name != "vault" or arguments.hsm is None else "hsm" for name in _NEEDED]
    missing = [f"--{name.replace('_', '-')}" for name in needed if not getattr(arguments, name)]
    if not (arguments.subscription or os.environ.get("AZURE_SUBSCRIPTION_ID")):
        missing.append("--subscription (nor AZURE_SUBSCRIPTION_ID)")
    if missing:
        raise UsageError(
            what="preflight --cloud azure",
            where="the command line",
            expected="the names of your own resources",
            found=f"no {', '.join(missing)}",
            fix="Name the VM, the vault or Managed HSM, and the key that a release is to be about.",
        )


def _stage(arguments: argparse.Namespace) -> Stage:
    from skrkit.provision.stage import Stage

    given = {option: getattr(arguments, option) for option in _NAMES if getattr(arguments, option)}
    return Stage(**given, hsm=hsm_of(arguments), identity="user" if "user_identity" in given else "system")
