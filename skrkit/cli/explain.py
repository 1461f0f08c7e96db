"""`skrkit explain`: why a release failed, from a saved refusal, its parts, or live; and the catalogue of causes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from skrkit.cli.azure_cloud import add_azure_cloud
from skrkit.cli.hsm_option import add_hsm

if TYPE_CHECKING:
    import argparse

    from skrkit.diagnosis.case import Case
    from skrkit.diagnosis.finding import Explanation
    from skrkit.render.view import View
    from skrkit.wire import Json

EXPLAINED, NOT_EXPLAINED = 0, 6


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "explain",
        help="say why a release failed, with the proof and what mends it",
        description="Say why a release failed. CASE is a saved case, an error of skrkit (--json or its text), the body "
        "of a refusal, a saved request with its response, what curl -i printed, an SDK's exception, or a browser's HAR "
        "export; - reads it from standard input. The name of a cause shows that cause. Nothing touches the network "
        "without --live. "
        "Exit code 0: explained, the first finding is proved or likely. 6: refused, and not explained.",
    )
    parser.add_argument("case", metavar="CASE", nargs="?", help="a file, - or the name of a cause")
    parser.add_argument("--list", action="store_true", help="list every cause")
    parser.add_argument("--markdown", action="store_true", help="with --list: every cause in full, as Markdown")
    parts = parser.add_argument_group("parts of a case", "Files that say more: what they prove decides.")
    parts.add_argument("--response", metavar="F", help="the answer that was refused, as CASE is given")
    parts.add_argument("--request", metavar="F", help="the request to it: JSON body, or its line and headers")
    parts.add_argument("--token", metavar="F", help="the attestation token, compact, or its claims in JSON")
    parts.add_argument("--jwks", metavar="F", help="what the provider publishes at /certs")
    parts.add_argument("--authority", metavar="URL", help="the provider that was configured (default: the token's iss)")
    parts.add_argument("--policy", metavar="F", help="the key's release policy: JSON, base64url, or a key that has it")
    parts.add_argument("--key", metavar="F", help="the key: az keyvault key show; with --live its name")
    parts.add_argument("--vault", metavar="F", help="the vault: az keyvault show; with --live its name")
    parts.add_argument("--vm", metavar="F", help="the VM: az vm show; with --live its name")
    parts.add_argument("--hcl", metavar="F", help="the HCL report, binary")
    parts.add_argument(
        "--at", metavar="TIME", help="when it happened, ISO 8601 (default: as the case says; without an answer, now)"
    )
    live = parser.add_argument_group("live", "Walk step 4 once, and explain what fails.")
    live.add_argument("--live", action="store_true", help="gather the case now: it is a real release")
    live.add_argument("--cloud", choices=("sandbox", "azure"), default="sandbox", help="the world (default: sandbox)")
    add_azure_cloud(live)
    live.add_argument("--resource-group", metavar="NAME")
    add_hsm(live)
    live.add_argument("--attestation", metavar="URL", help="the provider to attest at")
    live.add_argument("--user-identity", metavar="NAME", help="the VM's identity to act as, where it has several")
    live.add_argument("--subscription", metavar="ID", help="default: AZURE_SUBSCRIPTION_ID")
    live.add_argument("--tenant", metavar="ID", help="default: AZURE_TENANT_ID")
    parser.add_argument("--save", metavar="F", help="write the case to a file, to be explained again")
    parser.add_argument("--with-token", action="store_true", help="keep the signed token in it: a secret until it ends")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.set_defaults(func=run)


def run(arguments: argparse.Namespace) -> int:
    """Explain and return the exit code: 0 explained, 6 not; the catalogue is always 0."""
    if arguments.list or _is_cause(arguments.case):
        return _catalogue(arguments)
    from skrkit.cli.explain_case import live_case, saved_case

    case = live_case(arguments) if arguments.live else saved_case(arguments)
    if arguments.save:
        _save(case, arguments)
    from skrkit.diagnosis.explain import explain

    explanation = explain(case)
    _print(explanation, as_json=arguments.json)
    return exit_code_of(explanation)


def exit_code_of(explanation: Explanation) -> int:
    """Return 0 where the first finding is proved or likely, or nothing was refused and nothing found; else 6."""
    if not explanation.findings:
        return NOT_EXPLAINED if explanation.refusal else EXPLAINED
    return EXPLAINED if explanation.findings[0].certainty != "possible" else NOT_EXPLAINED


def _is_cause(name: str | None) -> bool:
    """Return whether an argument is meant as a cause's name: it is one, or looks like one and is no file."""
    if name is None or name == "-" or "." not in name or "/" in name or "\\" in name:
        return False
    import os

    from skrkit.diagnosis.cause import Leg

    group = name.partition(".")[0]
    return any(group == leg.value for leg in Leg) and not os.path.exists(name)


def _catalogue(arguments: argparse.Namespace) -> int:
    from skrkit.diagnosis.catalogue import catalogue, cause_named

    if arguments.case is not None:
        from skrkit.render.explanation import view_of_cause

        cause = cause_named(arguments.case)
        _show(view_of_cause(cause), cause.to_json(), as_json=arguments.json)
        return EXPLAINED
    causes = tuple(catalogue())
    if arguments.markdown:
        from skrkit.render.markdown import catalogue_markdown

        print(catalogue_markdown(causes), end="")
        return EXPLAINED
    from skrkit.render.explanation import view_of_catalogue

    _show(view_of_catalogue(causes), {"causes": [cause.to_json() for cause in causes]}, as_json=arguments.json)
    return EXPLAINED


def _show(view: View, document: dict[str, Json], *, as_json: bool) -> None:
    if as_json:
        import json

        print(json.dumps(document, indent=2))
        return
    from skrkit.render.plain import write

    write(view, sys.stdout)


def _print(explanation: Explanation, *, as_json: bool) -> None:
    if as_json:
        import json

        print(json.dumps(explanation.fields(), indent=2))
        return
    from skrkit.render.explanation import view_of_explanation
    from skrkit.render.plain import write

    write(view_of_explanation(explanation), sys.stdout)


def _save(case: Case, arguments: argparse.Namespace) -> None:
    from pathlib import Path

    from skrkit.cli.saved import write_file
    from skrkit.diagnosis.case_json import case_text

    write_file(Path(arguments.save), case_text(case, with_token=arguments.with_token).encode())
    token = " with its signed token" if arguments.with_token and case.token else ""
    print(f"Saved the case{token}: skrkit explain {arguments.save}", file=sys.stderr)
