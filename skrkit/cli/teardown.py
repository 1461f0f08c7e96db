"""`skrkit teardown`: remove what the walkthrough and deploy made, and say what remains and what that costs."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

from skrkit.cli.azure_cloud import add_azure_cloud, azure_of
from skrkit.errors import UsageError

if TYPE_CHECKING:
    import argparse

    from skrkit.cloud import Cloud
    from skrkit.provision.teardown import Found, Inventory, Scope


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "teardown",
        help="remove what the walkthrough and deploy made; say what remains",
        description="Remove what walkthrough and deploy made: what has the tag `skrkit`, and nothing else. The plan "
        "comes first, with what it costs to leave things as they are; nothing is done without --yes.",
    )
    parser.add_argument("--cloud", choices=("sandbox", "azure"), default="sandbox", help="the world (default: sandbox)")
    add_azure_cloud(parser)
    parser.add_argument("--purge", action="store_true", help="purge what is soft-deleted too; nobody can undo that")
    parser.add_argument("--yes", action="store_true", help="do what the plan says")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead")
    where = parser.add_argument_group("where to look")
    where.add_argument("--resource-group", metavar="NAME", help="in this group alone (default: the whole subscription)")
    where.add_argument("--vault", metavar="NAME", help="for keys of step 3, in a vault that is not skrkit's")
    where.add_argument("--hsm", metavar="NAME", help="for keys of step 3, in a Managed HSM that is not skrkit's")
    where.add_argument("--subscription", metavar="ID", help="default: AZURE_SUBSCRIPTION_ID")
    where.add_argument("--tenant", metavar="ID", help="default: AZURE_TENANT_ID")
    parser.set_defaults(func=run)


def run(arguments: argparse.Namespace) -> int:
    """Show the plan, or do it, and return the exit code: 0, or an error's own."""
    _quieten()
    cloud = _cloud(arguments)
    scope = _scope(arguments, cloud)
    return _tear_down(arguments, cloud, scope) if arguments.yes else _plan(arguments, cloud, scope)


def _quieten() -> None:
    """Keep the SDKs' own warnings off stderr: what they warn of is raised too, and worded then."""
    import logging

    for name in ("azure", "msal"):
        logging.getLogger(name).addHandler(logging.NullHandler())


def _cloud(arguments: argparse.Namespace) -> Cloud:
    if arguments.cloud == "sandbox":
        from skrkit.cloud import Cloud

        return Cloud.sandbox()
    if not (arguments.subscription or os.environ.get("AZURE_SUBSCRIPTION_ID")):
        raise UsageError(
            what="teardown --cloud azure",
            where="the command line",
            expected="the subscription to look in",
            found="no --subscription (nor AZURE_SUBSCRIPTION_ID)",
            fix="az account show --query id   says which one the Azure CLI uses",
        )
    return azure_of(arguments)


def _scope(arguments: argparse.Namespace, cloud: Cloud) -> Scope:
    from skrkit.provision.teardown import Scope

    urls = []
    if arguments.vault:
        urls.append(cloud.endpoints.vault_url(arguments.vault.lower()))
    if arguments.hsm:
        urls.append(cloud.endpoints.hsm_url(arguments.hsm.lower()))
    return Scope(resource_group=arguments.resource_group or "", key_urls=tuple(urls))


def _plan(arguments: argparse.Namespace, cloud: Cloud, scope: Scope) -> int:
    from skrkit.provision.teardown import find
    from skrkit.provision.teardown_view import plan_of_teardown, view_of_costs
    from skrkit.render.plain import write

    inventory = find(cloud, scope)
    plan = plan_of_teardown(inventory, purge=arguments.purge)
    if arguments.json:
        print(json.dumps({"plan": plan, **_members(inventory), "done": False}, indent=2))
        return 0
    if inventory.empty:
        print("There is nothing with skrkit's tag here.")
        return 0
    print("This would be done:\n")
    for line in plan:
        print(f"  • {line}")
    print()
    write(view_of_costs(inventory, cloud.endpoints), sys.stdout)
    print("\nNothing was done. Add --yes to do it.")
    return 0


def _members(inventory: Inventory) -> dict[str, Any]:
    from skrkit.provision.teardown_view import cost_of

    found = (*inventory.resources, *inventory.keys, *inventory.deleted, *inventory.groups)
    return {"found": [{**each.to_json(), "cost": cost_of(each)} for each in found]}


def _tear_down(arguments: argparse.Namespace, cloud: Cloud, scope: Scope) -> int:
    from skrkit.provision.teardown import tear_down
    from skrkit.provision.teardown_view import cost_of, view_of_teardown
    from skrkit.render.plain import write

    torn = tear_down(cloud, scope, purge=arguments.purge, progress=_quiet if arguments.json else _tell)
    if arguments.json:
        remaining = [{**each.to_json(), "cost": cost_of(each.found)} for each in torn.remaining]
        document = {
            "removed": [each.to_json() for each in torn.removed],
            "purged": [each.to_json() for each in torn.purged],
            "remaining": remaining,
            "done": True,
        }
        print(json.dumps(document, indent=2))
        return 0
    write(view_of_teardown(torn, cloud.endpoints), sys.stdout)
    return 0


def _quiet(_what: str, _found: Found) -> None:
    return


def _tell(what: str, found: Found) -> None:
    """Say on stderr what is gone, as soon as it is."""
    print(f"  {found.type} {found.name}: {what}", file=sys.stderr)
