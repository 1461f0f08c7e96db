"""`skrkit policy`: lint, evaluate, explain, derive, compare, encode and decode release policies. Nothing is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from skrkit.cli.azure_cloud import add_azure_cloud

if TYPE_CHECKING:
    import argparse

_POLICY = "the policy: JSON, base64url, or a vault's key bundle; - for standard input"
_TOKEN = "an attestation token (compact), or its claims as JSON; - for standard input"  # noqa: S105 - help, no token
_STRENGTHS = ("any-compliant", "this-software", "this-vm")
_TEMPLATES = ("cvm", "platform", "data-disk", "container")


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command group to the command line."""
    text = "lint, evaluate, explain, derive, compare, encode and decode release policies"
    parser = commands.add_parser("policy", help=text, description=f"{text.capitalize()}. Nothing is sent anywhere.")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    def action(name: str, text: str, more: str = "") -> argparse.ArgumentParser:
        description = f"{text.capitalize()}. {more}".strip()
        made: argparse.ArgumentParser = actions.add_parser(name, help=text, description=description)
        made.add_argument("--json", action="store_true", help="print one JSON document")
        made.set_defaults(func=_run)
        return made

    lint = action("lint", "say what is wrong with a policy, or odd", "Exit code 5 for errors, 0 for the rest.")
    add_azure_cloud(lint)
    _judging(action("eval", "hold a policy against a token", "Exit code 0 if it holds, 5 if it does not."))
    explain = action("explain", "say what a policy asks; with a token, why it does not hold and what would mend it")
    suggest = action("suggest", "derive policies from a token, at three strengths, each clause with what it costs")
    diff = action("diff", "compare two policies as a service would, and say who gains and who loses the key")
    encode = action("encode", "write a policy as release_policy.data: base64url, once, without padding")
    decode = action("decode", "read release_policy.data back, and say what a vault would have stumbled over")
    for each in (lint, encode, decode):
        each.add_argument("policy", metavar="POLICY", help=_POLICY)
    explain.add_argument("policy", metavar="POLICY", help=_POLICY)
    explain.add_argument("token", metavar="TOKEN", nargs="?", help=_TOKEN)
    suggest.add_argument("token", metavar="TOKEN", help=_TOKEN)
    suggest.add_argument("--strength", choices=_STRENGTHS, help="print this one's policy alone, ready for a file")
    for each in (explain, suggest):
        _verifying(each)
    diff.add_argument("before", metavar="BEFORE", help=_POLICY)
    diff.add_argument("after", metavar="AFTER", help=_POLICY)
    _template(action("template", "print a policy that is ready to use"))


def _judging(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("policy", metavar="POLICY", help=_POLICY)
    parser.add_argument("token", metavar="TOKEN", help=_TOKEN)
    parser.add_argument(
        "--extended-operators", action="store_true", help="let operators other than equals count, as inferred"
    )
    _verifying(parser)


def _verifying(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--jwks", metavar="FILE", help="the provider's keys: verify the token with them")
    parser.add_argument("--issuer", metavar="URL", help="the provider that the keys are from")
    parser.add_argument("--at", metavar="TIME", help="the time to verify for, ISO 8601 (default: now)")


def _template(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("template", metavar="NAME", choices=_TEMPLATES, help=", ".join(_TEMPLATES))
    place = parser.add_mutually_exclusive_group(required=True)
    place.add_argument("--region", metavar="REGION", help="the shared provider of this region, such as westeurope")
    place.add_argument("--authority", metavar="URL", help="another provider's URL")
    parser.add_argument("--host-data", metavar="HEX", help="for container: the SHA-256 of its policy")


def _run(arguments: argparse.Namespace) -> int:
    """Return the exit code of one action. Its module is loaded here, when it is known that it is wanted."""
    from skrkit.cli import policy_actions

    code: int = getattr(policy_actions, arguments.action.replace("eval", "evaluated"))(arguments)
    return code
