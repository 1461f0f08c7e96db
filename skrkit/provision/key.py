"""Step 3: an exportable HSM key whose release policy names the attestation it asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from skrkit.artefact import Artefact, Collector, Show
from skrkit.errors import UsageError
from skrkit.provision.tags import WALKTHROUGH
from skrkit.services.azure_errors import azure_call

if TYPE_CHECKING:
    from azure.keyvault.keys import KeyVaultKey

    from skrkit.cloud import Cloud
    from skrkit.policy.model import ReleasePolicy
    from skrkit.services.recording import HttpExchange
    from skrkit.wire import Json

KeyType = Literal["RSA-HSM", "EC-HSM", "oct-HSM"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasableKey:
    """A key that can be released. `policy` is what the service stores, which is not what was sent byte for byte."""

    name: str
    version: str
    kid: str
    policy: ReleasePolicy
    artefacts: tuple[Artefact, ...]


def create(
    cloud: Cloud,
    vault_url: str,
    name: str,
    policy: ReleasePolicy,
    *,
    key_type: KeyType = "RSA-HSM",
    show: Show | None = None,
) -> ReleasableKey:
    """Return an exportable HSM key with this release policy: the existing one if it has the same policy.

    RSA keys get 2048 bits, EC keys P-256, oct keys, which a Managed HSM alone has, 256 bits. The caller is
    the operator (key permission `create`, `get`; in a Managed HSM, Crypto User).
    Raises `UsageError` if the name is taken by a key with another policy, `ServiceError` when the vault refuses.
    """
    from azure.keyvault.keys import KeyClient

    from skrkit.policy.parse import encode_policy
    from skrkit.services.recording import RecordingTransport

    made = Collector(3, show)
    exchanges: list[HttpExchange] = []
    options = cloud.client_options(RecordingTransport(exchanges.append, **cloud.transport_options()))
    made.add(
        "policy-text",
        "The release policy, as text and as tree",
        policy,
        proves="The key leaves the vault only for a token of this authority whose claims meet every clause.",
        next="Its exact bytes are encoded and sent with the key.",
    )
    encoded = encode_policy(policy)
    made.add(
        "policy-encoded",
        "The release policy, as base64url",
        {"contentType": "application/json; charset=utf-8", "data": encoded},
        proves="What travels is base64url of the JSON, without padding; a plain-JSON `data` is refused.",
        next="It becomes `release_policy.data` in the request.",
        raw=encoded.encode(),
    )
    with azure_call(f"key {name}"), KeyClient(vault_url, cloud.credential(), **options) as keys:
        key = _existing(keys, name, policy) or _created(keys, name, policy, key_type)
    return described(made, exchanges, key, name, in_hsm=in_hsm(vault_url))


def _created(keys: Any, name: str, policy: ReleasePolicy, key_type: KeyType) -> KeyVaultKey:
    from azure.keyvault.keys import KeyReleasePolicy

    release_policy = KeyReleasePolicy(policy.raw)  # bytes: a str would be dropped without a word
    key: KeyVaultKey
    if key_type == "oct-HSM":
        key = keys.create_oct_key(
            name, size=256, hardware_protected=True, exportable=True, release_policy=release_policy, tags=WALKTHROUGH
        )
    elif key_type == "EC-HSM":
        key = keys.create_ec_key(
            name, hardware_protected=True, exportable=True, release_policy=release_policy, tags=WALKTHROUGH
        )
    else:
        key = keys.create_rsa_key(
            name, size=2048, hardware_protected=True, exportable=True, release_policy=release_policy, tags=WALKTHROUGH
        )
    return key


def _existing(keys: Any, name: str, policy: ReleasePolicy) -> KeyVaultKey | None:
    from azure.core.exceptions import ResourceNotFoundError

    from skrkit.policy.parse import parse_policy

    try:
        key: KeyVaultKey = keys.get_key(name)
    except ResourceNotFoundError:
        return None
    stored = key.properties.release_policy
    if stored is None or parse_policy(stored.encoded_policy).root != policy.root:
        raise UsageError(
            what=f"key {name}",
            where=str(key.id),
            expected="no key of this name, or one with the same release policy",
            found="a key with another policy" if stored else "a key without a release policy",
            fix=f"az keyvault key delete --id {key.id}   or choose another name with --key",
        )
    return key


def in_hsm(vault_url: str) -> bool:
    """Return whether an URL is a Managed HSM's."""
    return ".managedhsm." in vault_url


def described(
    made: Collector, exchanges: list[HttpExchange], key: KeyVaultKey, name: str, *, in_hsm: bool
) -> ReleasableKey:
    """Return the key that the last exchange made or changed, with the artefacts that show it added to `made`."""
    from skrkit.policy.parse import parse_policy

    stored = parse_policy(key.properties.release_policy.encoded_policy)  # type: ignore[union-attr]  # an exportable key has one
    last = exchanges[-1].to_json()
    made.add(
        "key-request",
        f"The request to the {'Managed HSM' if in_hsm else 'vault'}, and its answer",
        last,
        proves="The Managed HSM made the key and says only its public half."
        if in_hsm
        else "The vault made the key in its HSM and says only its public half.",
        next="The version in `kid`: a policy belongs to the key's name, a release to a version.",
    )
    made.add(
        "policy-rewritten",
        "The release policy, as the service rewrote it",
        stored,
        proves="Compare parsed, never byte by byte: a Managed HSM sorts the members by name and takes white space out."
        if in_hsm
        else "Compare parsed, never byte by byte: the vault takes white space out and turns booleans into text.",
        next="This is what step 4's token is held against.",
    )
    bundle: dict[str, Json] = {
        "kid": str(key.id),
        "kty": str(getattr(key.key_type, "value", key.key_type)),
        "key_ops": [str(getattr(op, "value", op)) for op in key.key_operations],
        "exportable": bool(key.properties.exportable),
        "enabled": bool(key.properties.enabled),
        "recovery_level": key.properties.recovery_level,
    }
    made.add(
        "key-bundle",
        "The key bundle",
        bundle,
        proves="exportable is true and cannot be changed later: only such a key can be released.",
        next="The kid and its version, for the release.",
    )
    return ReleasableKey(
        name=name,
        version=str(key.properties.version or ""),
        kid=str(key.id),
        policy=stored,
        artefacts=tuple(made.made),
    )
