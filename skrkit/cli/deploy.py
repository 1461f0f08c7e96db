"""`skrkit deploy`: vault, grant, key and confidential VM by one template; what it would change first."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skrkit.cli.azure_cloud import add_azure_cloud, azure_of
from skrkit.cli.holders import add_holders, holders_of
from skrkit.cli.hsm_option import SANDBOX_HSM, add_hsm, hsm_of
from skrkit.errors import UsageError

if TYPE_CHECKING:
    import argparse

    from skrkit.cloud import Cloud
    from skrkit.provision.deployment import Change, Deployed, Made, Order
    from skrkit.provision.deployment_hsm import Holders, Opened
    from skrkit.provision.stage import Stage

_THEN = "Add --what-if to have each resource compared with what is there, --yes to do it."
_STAGE_OPTIONS = ("resource_group", "location", "vm", "vault", "key", "attestation")


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "deploy",
        help="deploy vault, access, key and confidential VM by one template",
        description="Deploy what the four steps work on by one template: network, Premium vault, exportable key with "
        "its release policy, confidential VM with an identity, and the permission of that identity to release keys. "
        "With --hsm a Managed HSM in place of the vault; what no template does for it comes after the template. "
        "The plan comes first; in Azure nothing is done without --yes.",
    )
    parser.add_argument("--cloud", choices=("sandbox", "azure"), default="sandbox", help="the world (default: sandbox)")
    parser.add_argument(
        "--what-if", action="store_true", help="show what would change, resource by resource; do nothing"
    )
    parser.add_argument(
        "--template",
        metavar="NAME",
        nargs="?",
        const="",
        help="print the ARM template itself, or another one that it ships with, such as hsm-key; do nothing",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document instead")
    parser.add_argument("--yes", action="store_true", help="Azure: do what the plan says")
    parser.add_argument("--rbac", action="store_true", help="grant by Azure roles; the vault then goes by them")
    names = parser.add_argument_group("names", "In Azure these are yours; the sandbox has its own.")
    for option in _STAGE_OPTIONS:
        names.add_argument(f"--{option.replace('_', '-')}", metavar="NAME")
    add_hsm(names)
    names.add_argument("--subscription", metavar="ID", help="default: AZURE_SUBSCRIPTION_ID")
    names.add_argument("--tenant", metavar="ID", help="default: AZURE_TENANT_ID")
    add_azure_cloud(names)
    names.add_argument("--operator-object-id", metavar="ID", help="who prepares the keys (default: who deploys)")
    add_holders(parser)
    machine = parser.add_argument_group("the VM")
    machine.add_argument("--vm-size", metavar="SIZE", help="a size with SEV-SNP (default: Standard_DC2as_v5)")
    machine.add_argument("--admin", metavar="NAME", help="its first user (default: azureuser)")
    machine.add_argument("--ssh-public-key", metavar="FILE", type=Path, help="what that user signs in with")
    machine.add_argument("--public-ip", action="store_true", help="give it a public address")
    machine.add_argument("--ssh-from", metavar="CIDR", help="from where SSH is let in (default: from nowhere)")
    parser.set_defaults(func=run)


def run(arguments: argparse.Namespace) -> int:
    """Deploy, or show what would be, and return the exit code: 0, or an error's own."""
    if arguments.template is not None:
        _print_template(arguments.template or ("main" if arguments.hsm is None else "main-hsm"))
        return 0
    _quieten()
    cloud = _cloud(arguments)
    order = _order(arguments, cloud)
    if arguments.what_if:
        return _what_if(arguments, cloud, order)
    if arguments.cloud == "azure" and not arguments.yes:
        _print_plan(order, as_json=arguments.json)
        return 0
    return _deploy(arguments, cloud, order)


def _quieten() -> None:
    """Keep the SDKs' own warnings off stderr: what they warn of is raised too, and worded then."""
    import logging

    for name in ("azure", "msal"):
        logging.getLogger(name).addHandler(logging.NullHandler())


def _print_template(name: str) -> None:
    import json

    from skrkit.provision.deployment import template

    print(json.dumps(template(name), indent=2))


def _cloud(arguments: argparse.Namespace) -> Cloud:
    from skrkit.cloud import Cloud

    if arguments.cloud == "sandbox":
        return Cloud.sandbox()
    import os

    needed = (
        *(name if name != "vault" or arguments.hsm is None else "hsm" for name in _STAGE_OPTIONS),
        "ssh_public_key",
    )
    missing = [f"--{name.replace('_', '-')}" for name in needed if not getattr(arguments, name)]
    if not (arguments.subscription or os.environ.get("AZURE_SUBSCRIPTION_ID")):
        missing.append("--subscription (nor AZURE_SUBSCRIPTION_ID)")
    if missing:
        raise UsageError(
            what="deploy --cloud azure",
            where="the command line",
            expected="the names of what is to be made, and the key that its user signs in with",
            found=f"no {', '.join(missing)}",
            fix="Name them all: a vault's name is unique in all of Azure, the provider is that of the region.",
        )
    return azure_of(arguments)


def _order(arguments: argparse.Namespace, cloud: Cloud) -> Order:
    from skrkit.provision.deployment import NOBODYS_KEY, Order, operator_of

    given = {"vm_size": arguments.vm_size, "admin": arguments.admin, "ssh_source": arguments.ssh_from}
    return Order(
        stage=_stage(arguments),
        operator=arguments.operator_object_id or operator_of(cloud),
        admin_public_key=_public_key(arguments.ssh_public_key) if arguments.ssh_public_key else NOBODYS_KEY,
        public_ip=arguments.public_ip,
        **{name: value for name, value in given.items() if value},
    )


def _stage(arguments: argparse.Namespace) -> Stage:
    from skrkit.cli.walkthrough import RBAC_VAULT
    from skrkit.provision.stage import Stage

    given = {option: getattr(arguments, option) for option in _STAGE_OPTIONS if getattr(arguments, option)}
    if arguments.rbac and not arguments.vault and arguments.cloud == "sandbox":
        given["vault"] = RBAC_VAULT  # as the walk has it: the other one goes by access policies
    return Stage(**given, hsm=hsm_of(arguments), rbac=arguments.rbac)


def _public_key(path: Path) -> str:
    from skrkit.cli.reading import read_input

    try:
        return read_input(str(path)).decode().strip()
    except UnicodeDecodeError:
        return ""  # `Order` says what a public key looks like


def _what_if(arguments: argparse.Namespace, cloud: Cloud, order: Order) -> int:
    from skrkit.provision.deployment import group_exists, predict

    if not group_exists(cloud, order):
        if not arguments.json:
            print(f"Resource group {order.stage.resource_group} is not there: all of this would be new.\n")
        _print_plan(order, as_json=arguments.json, then="")
        return 0
    changes = predict(cloud, order)
    if arguments.json:
        _print_json(cloud, order, {"changes": [change.to_json() for change in changes], "done": False})
        return 0
    _show_prediction(order, changes)
    return 0


def _show_prediction(order: Order, changes: tuple[Change, ...]) -> None:
    from skrkit.provision.deployment_view import view_of_prediction
    from skrkit.render.plain import write

    write(view_of_prediction(order, changes), sys.stdout)
    print("\nNothing was done.")


def _print_plan(order: Order, *, as_json: bool, then: str = _THEN) -> None:
    from skrkit.provision.deployment import plan_of_deployment

    plan = plan_of_deployment(order)
    if as_json:
        import json

        print(json.dumps({"plan": plan, "done": False}, indent=2))
        return
    print("This would be done:\n")
    for line in plan:
        print(f"  • {line}")
    print(f"\nNothing was done. {then}".rstrip())


def _print_json(cloud: Cloud, order: Order, members: dict[str, Any]) -> None:
    import json

    document = {"cloud": cloud.world, "resource_group": order.stage.resource_group, "deployment": order.name}
    print(json.dumps(document | members, indent=2))


def _deploy(arguments: argparse.Namespace, cloud: Cloud, order: Order) -> int:
    from skrkit.provision.deployment import deploy, plan_of_deployment

    if not arguments.json:
        for line in plan_of_deployment(order):
            print(f"  • {line}", file=sys.stderr)
        print(file=sys.stderr)
    with holders_of(arguments) as holders:
        deployed = deploy(cloud, order, progress=_quiet if arguments.json else _tell)
        opened = _opened(cloud, deployed, holders)
    if arguments.json:
        made = [{"id": one.resource_id, "type": one.type, "state": one.state} for one in deployed.resources]
        next_command = _next(arguments, deployed)
        members = {"outputs": deployed.outputs, "resources": made, "done": True, "next": next_command}
        _print_json(cloud, order, members | ({"after_template": opened.to_json()} if opened else {}))
        return 0
    _show_deployed(arguments, deployed, opened)
    return 0


def _opened(cloud: Cloud, deployed: Deployed, holders: Holders | None) -> Opened | None:
    """Return what was done to a Managed HSM after its template; None where a vault has the keys."""
    from skrkit.provision.deployment_hsm import open_hsm

    return open_hsm(cloud, deployed, holders) if deployed.stage.hsm else None


def _quiet(_made: Made) -> None:
    return


def _tell(made: Made) -> None:
    """Say on stderr what was made, as soon as Resource Manager lists it."""
    words = "made" if made.state == "Succeeded" else f"failed, {made.code}"
    print(f"  {made.type} {made.name}: {words}", file=sys.stderr)


def _show_deployed(arguments: argparse.Namespace, deployed: Deployed, opened: Opened | None) -> None:
    from skrkit.provision.deployment_view import view_of_deployed, view_of_opened
    from skrkit.render.plain import write

    write(view_of_deployed(deployed), sys.stdout)
    if opened:
        print()
        write(view_of_opened(opened), sys.stdout)
    if opened and opened.left:
        print("\nThen run this command again: it goes on from there, and changes nothing that is made already.")
        return
    print("\nSteps 1 to 3 are done. To see them, and to go on with step 4:\n")
    print(f"  {_next(arguments, deployed)}")


def _next(arguments: argparse.Namespace, deployed: Deployed) -> str:
    """Return the command that walks on what was deployed: the names that are not the walk's own."""
    import shlex

    from skrkit.provision.stage import Stage

    own = Stage()
    words = ["skrkit", "walkthrough"]
    if arguments.cloud == "azure":
        words += ["--cloud", "azure"]
    for option in _STAGE_OPTIONS:
        value = getattr(deployed.stage, option)
        if option == "vault" and deployed.stage.hsm:
            continue
        if arguments.cloud == "azure" or value != getattr(own, option):
            words += [f"--{option.replace('_', '-')}", value]
    if deployed.stage.rbac:
        words.append("--rbac")
    if deployed.stage.hsm:
        words += ["--hsm", *([] if deployed.stage.hsm == SANDBOX_HSM else [deployed.stage.hsm])]
    for option in ("subscription", "tenant", "azure_cloud"):
        if arguments.cloud == "azure" and getattr(arguments, option):
            words += [f"--{option.replace('_', '-')}", getattr(arguments, option)]
    return shlex.join(words)
