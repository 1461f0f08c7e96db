"""`skrkit maa`: the policies of attestation providers: lint, try on a token's claims, wrap, read, change."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from skrkit.cli import maa_change
from skrkit.cli.azure_cloud import add_azure_cloud

if TYPE_CHECKING:
    import argparse

    from skrkit.render.view import View
    from skrkit.wire import Json

_POLICY = "the policy's text, as a provider takes it; - for standard input"
_TYPES = ("AzureGuest", "SevSnpVm", "TdxVm", "SgxEnclave", "OpenEnclave", "Tpm")
_TOKEN = "an attestation token (compact), or its claims as JSON; - for standard input"  # noqa: S105 - help, no token


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command group to the command line."""
    text = "lint, try, wrap, read and change the policies of attestation providers"
    more = "Such a policy decides whether there is a token; the release policy of a key, whether the token does."
    parser = commands.add_parser("maa", help=text, description=f"{text.capitalize()}. {more}")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    def action(name: str, text: str, more: str = "") -> argparse.ArgumentParser:
        description = f"{text.capitalize()}. {more}".strip()
        made: argparse.ArgumentParser = actions.add_parser(name, help=text, description=description)
        made.add_argument("--json", action="store_true", help="print one JSON document")
        made.set_defaults(func=_run)
        return made

    lint = action("lint", "say what is wrong with a policy, or odd", "Exit code 5 for errors, 0 for the rest.")
    tried = action("eval", "try a policy on the claims of a token", "Exit code 0 if it permits, 5 if it does not.")
    encode = action("encode", "wrap a policy as a provider takes it: an unsigned JWS", "Its hash goes to stderr.")
    for each in (lint, tried, encode):
        each.add_argument("policy", metavar="POLICY", help=_POLICY)
    tried.add_argument("token", metavar="TOKEN", help=_TOKEN)
    tried.set_defaults(jwks=None, issuer=None, at=None)
    show = action("show", "read a provider's policy", "Needs the role Attestation Reader on one that is not shared.")
    more = "Its text, or a JWS that goes out as it is. The change is shown. Needs the role Attestation Contributor."
    changed = action("set", "lint a policy, then put it into force at a provider", more)
    reset = action("reset", "put a provider's default policy back into force", "Needs Attestation Contributor.")
    for each in (show, changed, reset):
        _add_provider(each)
        each.add_argument("--type", choices=_TYPES, default="AzureGuest", help="attestation type (default: AzureGuest)")
    changed.add_argument("policy", metavar="POLICY", help=_POLICY)
    for each in (changed, reset):
        maa_change.add_signing(each)
        each.add_argument("--dry-run", action="store_true", help="show what would change, and send nothing")
        each.set_defaults(jwks=None, issuer=None, at=None, token=None, changes=True)
    changed.add_argument("--token", metavar="TOKEN", help=f"try both policies on the claims of {_TOKEN}")
    _add_signer(actions)


def _add_signer(actions: argparse._SubParsersAction[Any]) -> None:
    text = "list, add or remove the policy signers of a provider in isolated mode"
    signer = actions.add_parser("signer", help=text, description=f"{text.capitalize()}.")
    verbs = signer.add_subparsers(dest="change", required=True, metavar="CHANGE")
    for verb, text in (
        ("list", "list who may sign the policies of a provider"),
        ("add", "let another sign the policies of a provider"),
        ("remove", "let a policy signer no longer sign"),
    ):
        made = verbs.add_parser(verb, help=text, description=f"{text.capitalize()}.")
        made.add_argument("--json", action="store_true", help="print one JSON document")
        made.set_defaults(func=_run, changes=verb != "list")
        _add_provider(made)
        if verb != "list":
            made.add_argument("signer", metavar="PEM", help="the certificate of the one to add or remove")
            maa_change.add_signing(made)


def _add_provider(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("provider", metavar="URL", help="the provider's attestUri")
    parser.add_argument("--cloud", choices=("sandbox", "azure"), default="sandbox", help="where (default: the sandbox)")
    add_azure_cloud(parser)


def _run(arguments: argparse.Namespace) -> int:
    actions = {
        "lint": _lint,
        "eval": _eval,
        "encode": _encode,
        "show": _show,
        "set": maa_change.set_policy,
        "reset": maa_change.reset_policy,
        "signer": maa_change.list_signers,
    }
    if arguments.action == "signer" and arguments.change != "list":
        return maa_change.change_signer(arguments)
    return actions[arguments.action](arguments)


def _lint(arguments: argparse.Namespace) -> int:
    """Return 5 when a remark must be mended, else 0."""
    from skrkit.attestation_policy.form import policy_hash
    from skrkit.attestation_policy.lint import has_errors, lint_attestation_policy
    from skrkit.cli.reading import read_input
    from skrkit.errors import PolicyError
    from skrkit.render.attestation_policy import view_of_remarks

    data = read_input(arguments.policy)
    remarks = lint_attestation_policy(data)
    hashed = policy_hash(data.decode("utf-8", "replace"))
    document: dict[str, Json] = {
        "errors": has_errors(remarks),
        "x-ms-policy-hash": hashed,
        "remarks": [remark.to_json() for remark in remarks],
    }
    _print(arguments, document, view_of_remarks(remarks, policy_hash=hashed))
    return PolicyError.exit_code if has_errors(remarks) else 0


def _eval(arguments: argparse.Namespace) -> int:
    """Return 0 when the policy permits the claims, 5 when it does not."""
    from skrkit.attestation_policy.claims import incoming_claims
    from skrkit.attestation_policy.evaluate import evaluate
    from skrkit.attestation_policy.parse import parse_attestation_policy
    from skrkit.cli.policy_input import given_claims, refuse_one_stdin
    from skrkit.cli.reading import read_input
    from skrkit.errors import PolicyError
    from skrkit.render.attestation_policy import view_of_verdict

    refuse_one_stdin(arguments.policy, arguments.token)
    policy = parse_attestation_policy(read_input(arguments.policy))
    verdict = evaluate(policy, incoming_claims(given_claims(arguments).claims))
    _print(arguments, verdict.to_json(), view_of_verdict(verdict))
    return 0 if verdict.permitted else PolicyError.exit_code


def _encode(arguments: argparse.Namespace) -> int:
    """Return 0 once the JWS is on stdout. A policy that does not parse is refused: the provider would refuse it."""
    from skrkit.attestation_policy.form import policy_hash, unsigned_policy
    from skrkit.attestation_policy.parse import parse_attestation_policy
    from skrkit.cli.reading import read_input

    text = parse_attestation_policy(read_input(arguments.policy)).text
    if arguments.json:
        print(json.dumps({"policy": unsigned_policy(text), "x-ms-policy-hash": policy_hash(text)}))
        return 0
    print(unsigned_policy(text))
    print(f"x-ms-policy-hash {policy_hash(text)}", file=sys.stderr)
    return 0


def _show(arguments: argparse.Namespace) -> int:
    """Return 0 once the policy is on stdout, as it is in force; what else is known of it goes to stderr."""
    from skrkit.attestation_policy.form import policy_hash
    from skrkit.cloud import Cloud
    from skrkit.render.layout import harmless
    from skrkit.services.maa import provider_url
    from skrkit.services.maa_policy import fetch_policy, to_json

    cloud = Cloud.azure(name=arguments.azure_cloud or "") if arguments.cloud == "azure" else Cloud.sandbox()
    found = fetch_policy(cloud, provider_url(arguments.provider), arguments.type)
    if arguments.json:
        print(to_json(found))
        return 0
    for line in found.text.splitlines():
        print(harmless(line))
    print(f"x-ms-policy-hash {policy_hash(found.text)}" if found.text else "No policy is set.", file=sys.stderr)
    return 0


def _print(arguments: argparse.Namespace, document: dict[str, Json], view: View) -> None:
    if arguments.json:
        print(json.dumps(document, indent=2))
        return
    from skrkit.render.plain import write

    write(view, sys.stdout)
