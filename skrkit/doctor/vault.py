"""The vault as a client sees it: name, TLS, challenge, the key, the policy, and whether a release would be refused."""

from __future__ import annotations

import re
import socket
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from skrkit.doctor.check import NETWORK_LIMIT_S, Check, Outcome, failed, ok, skipped
from skrkit.doctor.gather import version_of
from skrkit.errors import ReleaseRefused, ServiceError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from skrkit.doctor.visit import Visit
    from skrkit.policy.evaluate import Decision
    from skrkit.policy.model import ReleasePolicy
    from skrkit.wire import Json

_UNNAMED = "No vault was named: --vault NAME, or --hsm NAME"
_UNNAMED_KEY = "No key was named: --key NAME"
_FIREWALL = ("ForbiddenByFirewall", "ForbiddenByConnection")
NO_TOKEN = "skrkit-doctor-sends-no-token"  # noqa: S105 - the target of a preflight: nothing could be released for it
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')


def reachable(visit: Visit) -> Outcome:
    """Return whether the vault, or Managed HSM, answers somebody without a token, and of which tenant it asks one."""
    if not (visit.names.hsm or visit.names.vault):
        return skipped(_UNNAMED)
    from skrkit.services.azure_errors import azure_call
    from skrkit.services.reader import KEYS_API
    from skrkit.services.rest import send_request

    cloud, url = visit.heard(visit.either_side), visit.vault_url()
    try:
        with azure_call(f"{visit.holder} {visit.names.hsm or visit.names.vault}"):
            send_request(cloud, "GET", f"{url}/keys?api-version={KEYS_API}")
    except ServiceError as answered:
        if answered.code in (
            "VaultNotFound",
            "ManagedHsmNotFound",
        ):  # the sandbox's own word for a name that does not resolve
            return failed(answered.found, cause="network.vault-name")
        if answered.status != HTTPStatus.UNAUTHORIZED:
            raise
    challenge = challenge_of(visit.exchanges[-1].response_headers)
    facts: dict[str, Json] = {"host": urlsplit(url).hostname, "challenge": dict(challenge)}
    addresses = [] if cloud.proxy else _addresses(urlsplit(url).hostname or "")
    if addresses:
        facts["addresses"] = list(addresses)
    by = f" at {', '.join(addresses)}" if addresses else ""
    tenant = urlsplit(challenge.get("authorization", "")).path.strip("/").partition("/")[0]
    own = str(visit.access_token.get("tid") or "")
    said = f"{facts['host']} answers{by} and asks for a token of tenant {tenant or '(not said)'}."
    if own and tenant and own.lower() != tenant.lower():
        return failed(f"{said} The VM's token is of {own}.", facts, cause="access-token.wrong-tenant")
    return ok(said, facts)


def challenge_of(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the members of a WWW-Authenticate header: `authorization`, `resource`. Empty without one."""
    text = next((value for name, value in headers.items() if name.lower() == "www-authenticate"), "")
    return dict(_CHALLENGE.findall(text))


def _addresses(host: str) -> tuple[str, ...]:
    try:
        found = socket.getaddrinfo(host, 443, type=socket.SOCK_STREAM)
    except OSError:  # a proxy of the environment resolves it: the request just now has told
        return ()
    return tuple(sorted({str(row[4][0]) for row in found}))


def _key(visit: Visit) -> Outcome:
    if not visit.names.key:
        return skipped(_UNNAMED_KEY)
    try:
        visit.key = _bundle(visit)
    except ServiceError as refused:
        if (
            visit.outside is None
            and refused.status == HTTPStatus.FORBIDDEN
            and not any(word in refused.code for word in _FIREWALL)
        ):
            return skipped("This identity may not read keys, and need not: `release` is all it is to have.")
        raise
    attributes = visit.key.get("attributes")
    known: Mapping[str, Json] = attributes if isinstance(attributes, dict) else {}
    key = visit.key.get("key")
    jwk: Mapping[str, Json] = key if isinstance(key, dict) else {}
    operations = jwk.get("key_ops")
    facts: dict[str, Json] = {
        "kid": jwk.get("kid"),
        "kty": jwk.get("kty"),
        "key_ops": operations,
        "enabled": known.get("enabled"),
        "exportable": known.get("exportable"),
        "release_policy": bool(visit.key.get("release_policy")),
    }
    said = f"{jwk.get('kty')} {str(jwk.get('kid') or '').rpartition('/keys/')[2]}"
    return _judged(said, facts, known, int(visit.either_side.now().timestamp()))


def _bundle(visit: Visit) -> dict[str, Json]:
    """Return the key as the operator sees it, or as the VM does where there is no operator."""
    from skrkit.services.reader import Reader

    url, name = visit.vault_url(), visit.names.key
    if visit.outside is not None:
        return visit.reader.key(url, name)
    with Reader(visit.heard(visit.vm_side), tokens={visit.vault_audience(): visit.vault_token}) as reader:
        return reader.key(url, name)


def _judged(said: str, facts: dict[str, Json], attributes: Mapping[str, Json], now: int) -> Outcome:
    if attributes.get("enabled") is False:
        return failed(f"{said} is disabled.", facts, cause="key.disabled")
    if attributes.get("exportable") is not True:
        return failed(f"{said} is not exportable: no policy can release it.", facts, cause="key.not-exportable")
    if not facts["release_policy"]:
        return failed(f"{said} has no release policy.", facts, cause="key.no-policy")
    starts, ends = attributes.get("nbf"), attributes.get("exp")
    if isinstance(starts, int) and starts > now:
        return failed(f"{said} is not valid yet (nbf).", facts, fix="Wait, or set its activation date back.")
    if isinstance(ends, int) and ends <= now:
        return failed(f"{said} has expired (exp).", facts, fix="Create a new version, or set its expiry date on.")
    return ok(f"{said} is enabled and exportable, and has a release policy.", facts)


def _policy_holds(visit: Visit) -> Outcome:
    from skrkit.policy.evaluate import evaluate
    from skrkit.release.flow import reasons

    text = visit.policy_known()
    if not text:
        return skipped("The key's policy was not read: give it by --policy FILE, or try a real release by --release.")
    token = visit.attested
    assert token is not None, "this check needs maa.attests"
    decision = evaluate(_parsed(text), token)
    if decision.holds:
        asked = [leaf for leaf in decision.leaves() if leaf.holds]
        return ok(
            f"The token just obtained meets the policy: {len(asked)} clauses hold.", {"decision": decision.to_json()}
        )
    return _policy_refused(visit, decision, "; ".join(reasons(decision)))


def _parsed(text: bytes) -> ReleasePolicy:
    from skrkit.policy.parse import parse_policy

    return parse_policy(text)


def _policy_refused(visit: Visit, decision: Decision, why: str) -> Outcome:
    """Return the failure, with the cause that the diagnosis gives for the refusal that the vault would answer with."""
    from skrkit.doctor.remedy import cause_of

    refusal = ReleaseRefused(
        what=f"release of key {visit.names.key}",
        where=f"POST {visit.vault_url()}/keys/{visit.names.key}/release",
        expected="the key",
        found="HTTP 403 Forbidden/AccessDenied: Target environment attestation does not meet key release policy "
        "requirements.",
        fix="",
    )
    cause, fix = cause_of(refusal, visit, len(visit.exchanges))
    said = f"The policy says no to the token just obtained: {why}."
    return failed(said, {"decision": decision.to_json()}, cause=cause, fix=fix)


def _preflight(visit: Visit) -> Outcome:
    """Ask for a release with a target that is no token: permission and key are looked at before it.

    The order of the service's checks is not documented (inferred): permission, key, then target.
    """
    if not visit.names.key:
        return skipped(_UNNAMED_KEY)
    from skrkit.services.azure_errors import azure_call
    from skrkit.services.reader import KEYS_API
    from skrkit.services.rest import send_request

    version = version_of(visit.key)
    path = f"keys/{visit.names.key}/{version}/release" if version else f"keys/{visit.names.key}/release"
    headers = {"Authorization": f"Bearer {visit.vault_token}"}
    body: Json = {"target": NO_TOKEN, "enc": "RSA_AES_KEY_WRAP_256"}
    try:
        with azure_call(f"preflight of a release of key {visit.names.key}"):
            url = f"{visit.vault_url()}/{path}?api-version={KEYS_API}"
            send_request(visit.heard(visit.vm_side), "POST", url, headers=headers, body=body)
    except ServiceError as refused:
        if not is_about_target(refused):
            raise
        return ok(f"Nothing but a token is missing. The {visit.holder} said of a target that is none: {refused.found}")
    return failed(
        f"The {visit.holder} released a key for a target that is no token.", fix="Tell Azure's support at once."
    )


def is_about_target(refused: ServiceError) -> bool:
    """Return whether a refusal of a release is about the token that it was asked with, and nothing before it."""
    if refused.status == HTTPStatus.BAD_REQUEST:
        return "AKV.SKR.1001" not in refused.found
    return refused.status == HTTPStatus.FORBIDDEN and "attestation statement cannot be verified" in refused.found


def _release(visit: Visit) -> Outcome:
    if not visit.release:
        return skipped("A real release was not asked for: --release")
    from skrkit.policy.templates import cvm_policy
    from skrkit.release.flow import Terms, open_release, request_release
    from skrkit.release.request import Enc
    from skrkit.services.vault import Vault, key_client

    cloud, enc, url = visit.heard(visit.vm_side), Enc.RSA_AES_KEY_WRAP_256, visit.vault_url()
    text = visit.policy_known()
    token = visit.attested
    assert token is not None, "this check needs maa.attests"
    terms = Terms(
        key=visit.names.key,
        version=version_of(visit.key),
        policy=_parsed(text) if text else cvm_policy(visit.names.attestation),
        enc=enc,
        nonce=cloud.make_nonce(),
        host=urlsplit(url).hostname or "",
        roots=cloud.release_roots(),
        now=cloud.now(),
    )
    with key_client(cloud, url) as releaser:
        vault = Vault(url=url, reader=None, releaser=releaser)
        released = open_release(visit.attester, vault, request_release(vault, token, terms), terms)
    return ok(f"The key was released, unwrapped in the vTPM and put to use: {released.key!r}. It was not kept.")


CHECKS = (
    Check(
        id="vault.reachable",
        title="The vault answers",
        proves="The vault's name resolves, its certificate is good, and it asks for a token of this tenant.",
        side="both",
        limit_s=NETWORK_LIMIT_S,
        run=reachable,
    ),
    Check(
        id="key.attributes",
        title="The key can be released",
        proves="The key is there, enabled, exportable, and has a release policy.",
        side="both",
        needs=("vault.reachable", "hsm.reachable", "identity.token", "outside.sign-in"),
        limit_s=NETWORK_LIMIT_S,
        run=_key,
    ),
)
POLICY_CHECKS = (
    Check(
        id="policy.holds",
        title="The policy against the token just obtained",
        proves="The claims of this VM, now, meet every clause of the key's release policy.",
        side="inside",
        needs=("maa.attests",),
        run=_policy_holds,
    ),
)
RELEASE_CHECKS = (
    Check(
        id="release.preflight",
        title="May this identity release this key?",
        proves="The vault, or Managed HSM, lets this identity ask for a release, and the key is in a state to be "
        "released.",
        side="inside",
        needs=("vault.reachable", "hsm.reachable", "identity.token"),
        limit_s=NETWORK_LIMIT_S,
        run=_preflight,
    ),
    Check(
        id="release.done",
        title="A real release",
        proves="The key leaves the vault, or Managed HSM, for this VM, and only its vTPM opens it.",
        side="inside",
        needs=("maa.attests", "release.preflight"),
        limit_s=NETWORK_LIMIT_S,
        run=_release,
    ),
)
