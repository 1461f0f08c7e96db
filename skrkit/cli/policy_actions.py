"""The actions of `skrkit policy`: read, ask the policy's own modules, show, and say it with the exit code."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from skrkit.cli.policy_input import given_claims, given_policy, opened_policy, refuse_one_stdin, say, say_findings
from skrkit.errors import PolicyError, UsageError

if TYPE_CHECKING:
    import argparse

    from skrkit.policy.model import ReleasePolicy
    from skrkit.render.view import View
    from skrkit.wire import Json

NO = PolicyError.exit_code  # a policy that says no, or has errors: the code of the policy's leg


def lint(arguments: argparse.Namespace) -> int:
    """Return 5 when a finding must be mended, else 0."""
    from skrkit.cli.reading import read_input
    from skrkit.endpoints import chosen_endpoints
    from skrkit.policy.lint import has_errors, lint_bytes
    from skrkit.render.policy import view_of_findings

    zone = f".{chosen_endpoints(arguments.azure_cloud or '').attest_suffix}"
    findings = lint_bytes(read_input(arguments.policy), zone=zone)
    document: dict[str, Json] = {
        "errors": has_errors(findings),
        "findings": [finding.to_json() for finding in findings],
    }
    _show(arguments, document, view_of_findings(findings))
    return NO if has_errors(findings) else 0


def evaluated(arguments: argparse.Namespace) -> int:
    """Return 0 when the policy holds for the token, 5 when it does not."""
    from skrkit.policy.evaluate import evaluate
    from skrkit.render.decision import view_of_decision

    refuse_one_stdin(arguments.policy, arguments.token, arguments.jwks)
    policy = given_policy(arguments.policy)
    given = given_claims(arguments)
    decision = evaluate(policy, given.claims, extended_operators=arguments.extended_operators)
    tree = decision.to_json()
    _show(arguments, {"holds": decision.holds, "verified": given.verified, "decision": tree}, view_of_decision(tree))
    return 0 if decision.holds else NO


def explain(arguments: argparse.Namespace) -> int:
    """Return 0 for what a policy asks, or for one that holds; 5 for one that does not hold for the token."""
    from skrkit.render.policy import view_of_meaning

    refuse_one_stdin(arguments.policy, arguments.token, arguments.jwks)
    policy = given_policy(arguments.policy)
    if arguments.token is not None:
        return _explained(arguments, policy)
    if arguments.jwks is not None or arguments.issuer is not None:
        raise UsageError(
            what="argument", where="--jwks", expected="a token to verify", found="none", fix="Name the token too."
        )
    _show(arguments, {"policy": policy.fields(), "conditions": _meanings(policy)}, view_of_meaning(policy))
    return 0


def _explained(arguments: argparse.Namespace, policy: ReleasePolicy) -> int:
    from skrkit.policy.evaluate import evaluate
    from skrkit.policy.repair import repairs
    from skrkit.render.decision import view_of_decision
    from skrkit.render.policy import view_of_repairs
    from skrkit.render.view import View

    given = given_claims(arguments)
    decision = evaluate(policy, given.claims)
    tree = decision.to_json()
    mended = repairs(policy, given.claims)
    document: dict[str, Json] = {
        "holds": decision.holds,
        "verified": given.verified,
        "decision": tree,
        "repairs": [repair.to_json() for repair in mended],
    }
    view = view_of_decision(tree)
    if not decision.holds:
        view = View(heading=view.heading, facts=view.facts, blocks=(*view.blocks, view_of_repairs(mended)))
    _show(arguments, document, view)
    return 0 if decision.holds else NO


def _meanings(policy: ReleasePolicy) -> list[Json]:
    from skrkit.policy.claim_lifetime import lifetime_of
    from skrkit.policy.model import conditions_of
    from skrkit.token.catalogue import explain_claim

    found: list[Json] = []
    for clause in policy.root:
        for condition in conditions_of(clause.group):
            fact, lifetime = explain_claim(condition.claim), lifetime_of(condition.claim)
            members: dict[str, Json] = {"pointer": condition.pointer, "authority": clause.authority}
            members |= condition.document()
            members["meaning"] = None if fact is None else fact.meaning
            if fact is not None:
                members |= {"lasts": lifetime.lasts.value, "made_again": lifetime.made_again}
                members["firmware"] = lifetime.firmware
            found.append(members)
    return found


def suggest(arguments: argparse.Namespace) -> int:
    """Return 0 once the three policies are shown, or the one that was asked for."""
    from skrkit.policy.suggest import suggest_policies
    from skrkit.render.policy import view_of_suggestions

    refuse_one_stdin(arguments.token, arguments.jwks)
    given = given_claims(arguments)
    suggestions = suggest_policies(given.claims)
    if arguments.strength is not None:
        (one,) = (suggestion for suggestion in suggestions if suggestion.name == arguments.strength)
        print(json.dumps(one.policy.fields(), indent=2))
        return 0
    document: dict[str, Json] = {"verified": given.verified, "suggestions": [one.to_json() for one in suggestions]}
    _show(arguments, document, view_of_suggestions(suggestions))
    return 0


def diff(arguments: argparse.Namespace) -> int:
    """Return 0: a difference is an answer, and --json names its effect."""
    from skrkit.policy.diff import diff_policies
    from skrkit.render.policy import view_of_diff

    refuse_one_stdin(arguments.before, arguments.after)
    found = diff_policies(given_policy(arguments.before), given_policy(arguments.after))
    _show(arguments, found.to_json(), view_of_diff(found))
    return 0


def encode(arguments: argparse.Namespace) -> int:
    """Return 0 once `release_policy.data` is on stdout. What lint finds wrong is counted on stderr."""
    from skrkit.policy.lint import lint_policy
    from skrkit.policy.lint_rules import Severity
    from skrkit.policy.parse import encode_policy, parse_policy

    opened = opened_policy(arguments.policy)
    say_findings(opened.findings)
    if opened.layers:
        say(f"It was wrapped already, in {', then '.join(opened.layers)}: opened, and encoded once.")
    policy = parse_policy(opened.json)
    errors = sum(finding.severity is Severity.ERROR for finding in lint_policy(policy))
    if errors:
        say(f"skrkit policy lint finds {errors} error{'' if errors == 1 else 's'} in it.")
    data = encode_policy(policy)
    print(json.dumps({"contentType": "application/json; charset=utf-8", "data": data}) if arguments.json else data)
    return 0


def decode(arguments: argparse.Namespace) -> int:
    """Return 0 once the policy is on stdout as JSON. What a vault would have refused on the way goes to stderr."""
    from skrkit.policy.parse import parse_policy

    opened = opened_policy(arguments.policy)
    say_findings(opened.findings)
    policy = parse_policy(opened.json)
    document: dict[str, Json] = policy.fields()
    if arguments.json:
        findings: list[Json] = [finding.to_json() for finding in opened.findings]
        document = {"policy": document, "encodings": list(opened.layers), "findings": findings}
    print(json.dumps(document, indent=2, ensure_ascii=arguments.json))
    return 0


def template(arguments: argparse.Namespace) -> int:
    """Return 0 once the policy is on stdout, ready for a file."""
    from skrkit.policy import templates

    authority = arguments.authority or _shared_provider(arguments.region)
    if (arguments.template == "container") != (arguments.host_data is not None):
        raise UsageError(
            what="argument",
            where="--host-data",
            expected="the SHA-256 of the container's policy, for container and nothing else",
            found="none" if arguments.host_data is None else f"one for {arguments.template}",
            fix="skrkit policy template container --host-data HEX --region REGION",
        )
    made = {
        "cvm": lambda: templates.cvm_policy(authority),
        "platform": lambda: templates.cvm_policy(authority, guest=False),
        "data-disk": lambda: templates.data_disk_policy(authority),
        "container": lambda: templates.container_policy(authority, host_data=arguments.host_data),
    }[arguments.template]()
    print(json.dumps(made.fields(), indent=2))
    return 0


def _shared_provider(region: str) -> str:
    from difflib import get_close_matches

    from skrkit.token.providers import SHARED_PROVIDERS, shared_provider_host

    name = region.lower().replace(" ", "")
    host = shared_provider_host(name)
    if host is None:
        near = get_close_matches(name, SHARED_PROVIDERS, n=1)
        raise UsageError(
            what="region",
            where="--region",
            expected="one of Azure's public regions with a shared provider, such as westeurope",
            found=repr(region),
            fix=f"Did you mean {near[0]}?" if near else "Name the provider with --authority.",
        )
    return f"https://{host}"


def _show(arguments: argparse.Namespace, document: dict[str, Json], view: View) -> None:
    if arguments.json:
        print(json.dumps(document, indent=2))
        return
    from skrkit.render.plain import write

    write(view, sys.stdout)
