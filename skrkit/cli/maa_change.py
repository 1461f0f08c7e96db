"""`skrkit maa set`, `reset` and `signer`: what changes a provider, each shown before it is sent."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from skrkit.errors import PolicyError, UsageError

if TYPE_CHECKING:
    import argparse

    from cryptography import x509

    from skrkit.attestation_policy.change import PolicyChange
    from skrkit.attestation_policy.signing import PolicySigner
    from skrkit.cloud import Cloud
    from skrkit.render.view import View
    from skrkit.wire import Json


def add_signing(parser: argparse.ArgumentParser) -> None:
    """Add the two options that name a policy signer."""
    parser.add_argument("--signing-key", metavar="PEM", help="sign as a policy signer: its private key, not encrypted")
    parser.add_argument("--certificate", metavar="PEM", help="the signer's certificate, and its issuers after it")


def set_policy(arguments: argparse.Namespace) -> int:
    """Return 0 once the policy is in force, or was shown by --dry-run; 5 for one that lint finds an error in."""
    from skrkit.attestation_policy.form import opened_policy, policy_hash
    from skrkit.attestation_policy.lint import has_errors, lint_attestation_policy
    from skrkit.render.attestation_policy import view_of_remarks
    from skrkit.render.plain import write
    from skrkit.services.maa_policy import fetch_policy, fetch_signers, set_policy

    cloud, issuer = _provider(arguments)
    signer = _signer(arguments)
    jws, text = _policy(arguments, signer)
    remarks = lint_attestation_policy(text)
    if remarks:
        write(view_of_remarks(remarks, policy_hash=policy_hash(text)), sys.stderr)
    if has_errors(remarks):
        if arguments.json:
            print(json.dumps({"sent": False, "remarks": [remark.to_json() for remark in remarks]}, indent=2))
        return PolicyError.exit_code
    _require_signature(fetch_signers(cloud, issuer), opened_policy(jws).signed_by, signer)
    before = fetch_policy(cloud, issuer, arguments.type)
    change = _compared(arguments, before.text, text)
    if not arguments.dry_run:
        set_policy(cloud, issuer, arguments.type, jws)
    return _show_change(arguments, issuer, change, result="" if arguments.dry_run else "Updated")


def reset_policy(arguments: argparse.Namespace) -> int:
    """Return 0 once the provider's default is in force again, or with --dry-run without asking for it."""
    from skrkit.attestation_policy.signing import UNSIGNED_RESET
    from skrkit.render.attestation_policy import view_of_no_reset
    from skrkit.services.maa_policy import fetch_policy, fetch_signers, reset_policy

    cloud, issuer = _provider(arguments)
    signer = _signer(arguments)
    _require_signature(fetch_signers(cloud, issuer), None if signer is None else {}, signer)
    before = fetch_policy(cloud, issuer, arguments.type)
    if arguments.dry_run:
        about = f"{arguments.type} at {issuer}"
        document = {"provider": issuer, "type": arguments.type, "sent": False, "result": None, "before": before.text}
        _show(arguments, document, view_of_no_reset(before.text, about=about))
        return 0
    reset_policy(cloud, issuer, arguments.type, UNSIGNED_RESET if signer is None else signer.signed_reset())
    after = fetch_policy(cloud, issuer, arguments.type)
    return _show_change(arguments, issuer, _compared(arguments, before.text, after.text), result="Removed")


def list_signers(arguments: argparse.Namespace) -> int:
    """Return 0 once the policy signers are on stdout."""
    from skrkit.render.attestation_policy import signer_members, view_of_signers
    from skrkit.services.maa_policy import fetch_signers

    cloud, issuer = _provider(arguments)
    found = fetch_signers(cloud, issuer)
    members: list[Json] = [dict(signer_members(each)) for each in found]
    _show(arguments, {"provider": issuer, "signers": members}, view_of_signers(issuer, found))
    return 0


def change_signer(arguments: argparse.Namespace) -> int:
    """Return 0 once another is a policy signer, or none any longer."""
    from skrkit.attestation_policy.signing import parse_certificates
    from skrkit.cli.reading import read_input
    from skrkit.services.maa_policy import change_signers, fetch_signers

    cloud, issuer = _provider(arguments)
    (certificate, *_) = parse_certificates(read_input(arguments.signer))
    signer = _signer(arguments)
    if signer is None:
        raise _unsigned("only a policy signer can add or remove one")
    _require_signature(fetch_signers(cloud, issuer), {}, signer, change=True)
    change_signers(cloud, issuer, arguments.change, signer.signed_change(certificate))
    return list_signers(arguments)


def _provider(arguments: argparse.Namespace) -> tuple[Cloud, str]:
    from skrkit.cloud import Cloud
    from skrkit.services.maa import provider_url
    from skrkit.token.providers import is_shared_provider

    issuer = provider_url(arguments.provider)
    if arguments.changes and is_shared_provider(issuer.removeprefix("https://").lower()):
        raise UsageError(
            what="attestation provider",
            where=issuer,
            expected="a provider of one's own",
            found="the shared one of a region, which Microsoft alone changes",
            fix="Make one: az attestation create --name NAME --resource-group GROUP --location REGION",
        )
    return (Cloud.azure(name=arguments.azure_cloud or "") if arguments.cloud == "azure" else Cloud.sandbox()), issuer


def _signer(arguments: argparse.Namespace) -> PolicySigner | None:
    from skrkit.attestation_policy.signing import policy_signer
    from skrkit.cli.reading import read_input

    if (arguments.signing_key is None) != (arguments.certificate is None):
        raise UsageError(
            what="argument",
            where="--signing-key and --certificate",
            expected="both, or neither",
            found="one of them",
            fix="Name the signer's private key and its certificate.",
        )
    if arguments.signing_key is None:
        return None
    return policy_signer(read_input(arguments.signing_key), read_input(arguments.certificate))


def _policy(arguments: argparse.Namespace, signer: PolicySigner | None) -> tuple[str, str]:
    """Return a policy as a JWS and its text. The file is the text, or a JWS that goes out as it is."""
    from skrkit.attestation_policy.form import opened_policy, unsigned_policy
    from skrkit.attestation_policy.parse import parse_attestation_policy
    from skrkit.cli.policy_input import refuse_one_stdin
    from skrkit.cli.reading import read_input

    refuse_one_stdin(arguments.policy, arguments.token)
    data = read_input(arguments.policy)
    if data.startswith(b"ey"):  # { in base64url: no policy's text begins so
        if signer is not None:
            raise UsageError(
                what="argument",
                where="--signing-key",
                expected="the text of a policy, to be signed",
                found="a JWS, which is signed or not as it came",
                fix="Pass the text, or leave out --signing-key and --certificate.",
            )
        jws = data.decode("ascii", "replace").strip()
        return jws, parse_attestation_policy(opened_policy(jws).text).text
    text = parse_attestation_policy(data).text
    return (unsigned_policy(text) if signer is None else signer.signed_policy(text)), text


def _require_signature(
    signers: tuple[x509.Certificate, ...],
    signed_by: dict[str, Json] | None,
    signer: PolicySigner | None,
    *,
    change: bool = False,
) -> None:
    """Refuse here what the provider would refuse, in clearer words: who may sign is known from it."""
    if change and not signers:
        raise PolicyError(
            what="policy signers",
            where="the provider",
            expected="one that was made with policy signing certificates",
            found="one that goes by roles alone",
            fix="Make another: az attestation create … --certs-input-path certificate.pem",
        )
    if signers and signed_by is None:
        raise _unsigned(f"the provider has {len(signers)} policy signer{'s' if len(signers) > 1 else ''}")
    keys = [each.public_key() for each in signers]
    if signers and signer is not None and signer.certificates[0].public_key() not in keys:
        raise PolicyError(
            what="policy signer",
            where="--certificate",
            expected="one of: " + ", ".join(each.subject.rfc4514_string() for each in signers),
            found=signer.certificates[0].subject.rfc4514_string() or "a certificate without a name",
            fix="skrkit maa signer list shows who may sign; one of them can add another.",
        )


def _unsigned(found: str) -> PolicyError:
    return PolicyError(
        what="attestation policy",
        where="its signature",
        expected="that of a policy signer",
        found=f"none, and {found}",
        fix="Pass --signing-key and --certificate, or a JWS that was signed elsewhere.",
    )


def _compared(arguments: argparse.Namespace, before: str, after: str) -> PolicyChange:
    from skrkit.attestation_policy.change import compare_attestation_policies
    from skrkit.cli.policy_input import given_claims

    claims = None if arguments.token is None else given_claims(arguments).claims
    return compare_attestation_policies(before, after, claims)


def _show_change(arguments: argparse.Namespace, issuer: str, change: PolicyChange, *, result: str) -> int:
    from skrkit.render.attestation_policy import view_of_change

    document: dict[str, Json] = {
        "provider": issuer,
        "type": arguments.type,
        "sent": bool(result),
        "result": result or None,
        **change.to_json(),
    }
    _show(arguments, document, view_of_change(change, about=f"{arguments.type} at {issuer}", result=result))
    return 0


def _show(arguments: argparse.Namespace, document: dict[str, Any], view: View) -> None:
    if arguments.json:
        print(json.dumps(document, indent=2))
        return
    from skrkit.render.plain import write

    write(view, sys.stdout)
