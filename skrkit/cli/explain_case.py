"""The case of `skrkit explain`: from a file and the parts given with it, or live."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from skrkit.cli.azure_cloud import azure_of
from skrkit.cli.hsm_option import hsm_of
from skrkit.cli.reading import read_input
from skrkit.errors import ParseError, UsageError

if TYPE_CHECKING:
    import argparse

    from skrkit.diagnosis.case import Case
    from skrkit.wire import Json

_FILES = ("response", "request", "token", "jwks", "policy", "key", "vault", "vm", "hcl")
_NAMES = ("resource_group", "vm", "vault", "key", "attestation", "user_identity")


def saved_case(arguments: argparse.Namespace) -> Case:
    """Return the case in the files that the arguments name. Raises `UsageError` where none is named."""
    from skrkit.cli.verify_options import time_of
    from skrkit.diagnosis.case import Case
    from skrkit.diagnosis.case_text import case_of_text

    given = [name for name in (arguments.case, *(getattr(arguments, file) for file in _FILES)) if name]
    if not given:
        raise UsageError(
            what="case",
            where="the arguments",
            expected="a file, - for standard input, a part such as --response, or --live",
            found="nothing",
            fix="skrkit explain refusal.json   or skrkit explain --live",
        )
    if given.count("-") > 1:
        raise UsageError(
            what="standard input",
            where="-",
            expected="one use of it",
            found="several",
            fix="Name files for the others.",
        )
    source = arguments.case or arguments.response
    case = case_of_text(read_input(source)) if source else Case()
    if arguments.case and arguments.response:
        case = replace(case, exchanges=case_of_text(read_input(arguments.response)).exchanges)
    if arguments.at or not source:  # an old answer is of its own time, which may not be known
        case = replace(case, at=time_of(arguments.at))
    return _with_parts(case, arguments)


def _with_parts(case: Case, arguments: argparse.Namespace) -> Case:
    """Return the case with each part that is a file of its own."""
    changes: dict[str, Any] = {}
    if arguments.token:
        changes |= _token(read_input(arguments.token))
    if arguments.jwks:
        changes["jwks"] = read_input(arguments.jwks)
    if arguments.key:
        changes |= _key(read_input(arguments.key))
    if arguments.policy:
        changes["policy"] = _policy(read_input(arguments.policy))
    if arguments.authority:
        changes["authority"] = arguments.authority
    for name in ("vault", "vm"):
        file = getattr(arguments, name)
        if file:
            changes[name] = _resource(read_input(file), name)
    if arguments.hcl:
        changes["evidence"] = {**case.evidence, "hcl-report": read_input(arguments.hcl)}
    case = replace(case, **changes)
    return _with_request(case, read_input(arguments.request)) if arguments.request else case


def _token(data: bytes) -> dict[str, Any]:
    """Return the token, or the claims where these were given in JSON."""
    from skrkit.encoding import json_object

    text = data.strip()
    if text.startswith(b"{"):
        claims = json_object(text, what="claims", where="the whole text")
        inner = claims.get("claims")
        return {"claims": inner if isinstance(inner, dict) else claims}
    return {"token": text.removeprefix(b"Bearer ").strip(b"\"' \r\n")}


def _policy(data: bytes) -> bytes:
    """Return a policy's text, taken out of whatever it came in."""
    from skrkit.policy.text import open_policy_text

    return open_policy_text(data).json


def _key(data: bytes) -> dict[str, Any]:
    """Return the key's bundle in the vault's own form, and its policy. Azure's command line writes both otherwise."""
    from skrkit.encoding import json_object
    from skrkit.policy.text import open_policy_text

    bundle = json_object(data, what="key", where="the whole text")
    key = bundle.get("key")
    if isinstance(key, dict) and "keyOps" in key:
        bundle["key"] = {**key, "key_ops": key["keyOps"]}
    has_policy = any(bundle.get(name) for name in ("release_policy", "releasePolicy"))
    return {"key": bundle, **({"policy": open_policy_text(data).json} if has_policy else {})}


def _resource(data: bytes, what: str) -> dict[str, Json]:
    """Return a resource as Resource Manager shows it: the command line puts a VM's properties beside its name."""
    from skrkit.encoding import json_object

    found = json_object(data, what=what, where="the whole text")
    return found if isinstance(found.get("properties"), dict) else {**found, "properties": dict(found)}


def _with_request(case: Case, data: bytes) -> Case:
    """Return the case whose last exchange has this request: a body in JSON, or a request with its line."""
    from skrkit.diagnosis.case_text import request_of_text

    if not case.exchanges:
        raise ParseError(
            what="--request",
            where="the arguments",
            expected="the response to it as well",
            found="a request alone",
            fix="Give the answer with --response, or as CASE.",
        )
    last, token = request_of_text(data, case.exchanges[-1])
    return replace(case, exchanges=(*case.exchanges[:-1], last), token=case.token or token)


def live_case(arguments: argparse.Namespace) -> Case:
    """Return the case of step 4, walked now. In Azure this machine must be the VM."""
    from skrkit.cloud import Cloud
    from skrkit.doctor.gather import gather_case
    from skrkit.provision.stage import Stage

    _quieten()
    given = {name: getattr(arguments, name) for name in _NAMES if getattr(arguments, name)}
    if "user_identity" in given:
        given["identity"] = "user"
    if arguments.hsm or (arguments.hsm is not None and arguments.cloud == "sandbox"):
        given["hsm"] = hsm_of(arguments)
    if arguments.cloud == "azure":
        holder = "vault" if arguments.hsm is None else "hsm"
        missing = [name for name in ("vm", holder, "key", "attestation", "resource_group") if name not in given]
        if missing:
            raise UsageError(
                what="names",
                where="the arguments",
                expected="those of your own Azure",
                found=f"no --{', no --'.join(name.replace('_', '-') for name in missing)}",
                fix="Name them: skrkit explain --live --cloud azure --resource-group … --vm … --vault … --key … "
                "--attestation …",
            )
        cloud = azure_of(arguments)
    else:
        cloud = Cloud.sandbox()
    return gather_case(cloud, Stage(**given))


def _quieten() -> None:
    """Keep the SDKs' own warnings off stderr: what they warn of is what is explained."""
    import logging

    for name in ("azure", "msal"):
        logging.getLogger(name).addHandler(logging.NullHandler())
