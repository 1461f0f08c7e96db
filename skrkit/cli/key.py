"""`skrkit key`: what becomes of a releasable key after step 3. A new version, another policy, an own key brought in."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from skrkit.cli.azure_cloud import add_azure_cloud, azure_of
from skrkit.cli.hsm_option import add_hsm, check_named, hsm_of
from skrkit.errors import UsageError

if TYPE_CHECKING:
    import argparse

    from skrkit.artefact import Artefact
    from skrkit.cloud import Cloud
    from skrkit.provision.key import ReleasableKey
    from skrkit.provision.key_rights import Change
    from skrkit.provision.stage import Stage

_PLANS = {
    "new-version": "a new version of it: fresh material, the same release policy; earlier versions stay releasable",
    "policy": "its release policy replaced, for every version of it at once",
    "import": "the own key brought in as its current version, exportable under the policy",
}


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "key",
        help="make a new version of a releasable key, change its policy, bring an own one in",
        description="What becomes of a releasable key after step 3, with what the service wrote of it. The permissions "
        "that it takes are looked at first; in Azure nothing is done without --yes.",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    _add(actions, "new-version", "make the next version of the key, under the same policy")
    changed = _add(actions, "policy", "put another release policy in place: who gains the key, who loses it")
    changed.add_argument("policy", metavar="POLICY", help="the new policy's file, - for standard input")
    brought = _add(actions, "import", "bring in a private key that was made elsewhere")
    brought.add_argument("pem", metavar="PEM", help="an unencrypted private key, RSA or EC")
    brought.add_argument("policy", metavar="POLICY", help="its release policy's file, - for standard input")


def _add(actions: Any, name: Change, text: str) -> argparse.ArgumentParser:
    action: argparse.ArgumentParser = actions.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    action.add_argument("--cloud", choices=("sandbox", "azure"), default="sandbox", help="the world (default: sandbox)")
    add_azure_cloud(action)
    action.add_argument("--yes", action="store_true", help="Azure: do what the plan says")
    action.add_argument("--json", action="store_true", help="print one JSON document instead")
    names = action.add_argument_group("names", "In Azure these are yours; the sandbox has its own.")
    for option in ("resource-group", "vault", "key"):
        names.add_argument(f"--{option}", metavar="NAME")
    add_hsm(names)
    names.add_argument("--subscription", metavar="ID", help="default: AZURE_SUBSCRIPTION_ID")
    names.add_argument("--tenant", metavar="ID", help="default: AZURE_TENANT_ID")
    action.set_defaults(func=run, change=name)
    return action


def run(arguments: argparse.Namespace) -> int:
    """Change the key, or show the plan, and return the exit code: 0, or an error's own."""
    import logging

    from skrkit.provision import key_rights

    for name in ("azure", "msal"):  # what they warn of is raised too, and worded then
        logging.getLogger(name).addHandler(logging.NullHandler())
    _check_names(arguments)
    given, stage = _given(arguments), _stage(arguments)
    if arguments.cloud == "azure" and not arguments.yes:
        _print_plan(arguments, stage)
        return 0
    cloud = _cloud(arguments)
    for right in key_rights.check(cloud, stage, arguments.change):
        if right.verdict != "ok":
            print(f"not checked: {right.action}. {right.found}", file=sys.stderr)
    key = _changed(arguments, cloud, stage, given, _quiet if arguments.json else _show)
    if arguments.json:
        import json

        artefacts = [artefact.to_json() for artefact in key.artefacts]
        print(json.dumps({"key": key.name, "version": key.version, "kid": key.kid, "artefacts": artefacts}, indent=2))
    else:
        print(f"Key {key.name} is now at version {key.version}.")
    return 0


def _check_names(arguments: argparse.Namespace) -> None:
    import os

    if arguments.cloud != "azure":
        return
    check_named(arguments)
    needed = ("resource_group", "vault" if arguments.hsm is None else "hsm", "key")
    missing = [f"--{name.replace('_', '-')}" for name in needed if not getattr(arguments, name)]
    if not (arguments.subscription or os.environ.get("AZURE_SUBSCRIPTION_ID")):
        missing.append("--subscription (nor AZURE_SUBSCRIPTION_ID)")
    if missing:
        raise UsageError(
            what=f"key {arguments.change} --cloud azure",
            where="the command line",
            expected="the names of your own key, and of what it is in",
            found=f"no {', '.join(missing)}",
            fix="Name the key, the vault or Managed HSM, and its resource group.",
        )


def _given(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the files that the change takes, read before anything is asked of the service."""
    from skrkit.cli.policy_input import given_policy
    from skrkit.cli.reading import read_input

    given: dict[str, Any] = {}
    if arguments.change == "import":
        given["pem"] = read_input(arguments.pem)
    if arguments.change != "new-version":
        given["policy"] = given_policy(arguments.policy)
    return given


def _stage(arguments: argparse.Namespace) -> Stage:
    from skrkit.provision.stage import Stage

    given = {name: getattr(arguments, name) for name in ("resource_group", "vault", "key") if getattr(arguments, name)}
    return Stage(**given, hsm=hsm_of(arguments))


def _cloud(arguments: argparse.Namespace) -> Cloud:
    if arguments.cloud == "azure":
        return azure_of(arguments)
    from skrkit.cloud import Cloud

    return Cloud.sandbox()


def _print_plan(arguments: argparse.Namespace, stage: Stage) -> None:
    from skrkit.provision.key_rights import PERMISSIONS

    permissions = ", ".join(PERMISSIONS[arguments.change])
    plan = [f"{stage.holder}, key {stage.key}: {_PLANS[arguments.change]} (key permissions: {permissions})"]
    if arguments.json:
        import json

        print(json.dumps({"plan": plan, "done": False}, indent=2))
        return
    print("This would be done in Azure:\n")
    for line in plan:
        print(f"  • {line}")
    print("\nNothing was done. Add --yes to do it.")


def _changed(
    arguments: argparse.Namespace, cloud: Cloud, stage: Stage, given: dict[str, Any], show: Any
) -> ReleasableKey:
    from skrkit.provision import key_change

    url = stage.vault_url(cloud)
    if arguments.change == "new-version":
        return key_change.new_version(cloud, url, stage.key, show=show)
    if arguments.change == "policy":
        return key_change.change_policy(cloud, url, stage.key, given["policy"], show=show)
    return key_change.import_key(cloud, url, stage.key, given["pem"], given["policy"], show=show)


def _quiet(_artefact: Artefact) -> None:
    return


def _show(artefact: Artefact) -> None:
    """Print one artefact as soon as it is there."""
    from skrkit.render.plain import write
    from skrkit.render.view import view_of_artefact

    write(view_of_artefact(artefact), sys.stdout)
    print()
