"""What becomes of a releasable key after step 3: an own key brought in, a new version, another policy.

A policy belongs to the key's name and goes for every version of it. Each call shows what the service wrote and where
that differs from what was sent.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from skrkit.artefact import Collector, Show
from skrkit.errors import UsageError
from skrkit.provision.key import ReleasableKey, described, in_hsm
from skrkit.services.azure_errors import azure_call

if TYPE_CHECKING:
    from azure.keyvault.keys import JsonWebKey, KeyClient, KeyReleasePolicy, KeyVaultKey
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    from skrkit.cloud import Cloud
    from skrkit.policy.model import ReleasePolicy
    from skrkit.services.recording import HttpExchange
    from skrkit.wire import Json

MAX_PEM_BYTES = 64 << 10
RSA_BITS = (2048, 3072, 4096)
_CURVES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521", "secp256k1": "P-256K"}  # SEC 2's names


def import_key(
    cloud: Cloud, vault_url: str, name: str, pem: bytes, policy: ReleasePolicy, *, show: Show | None = None
) -> ReleasableKey:
    """Return an own private key as an exportable HSM key with this release policy; over a name, as a new version.

    `pem` is an unencrypted RSA key of 2048, 3072 or 4096 bits, or one on P-256, P-384, P-521 or P-256K. It has been
    outside an HSM: whoever made it can still have it. The caller needs the key permission `import`.
    Raises `UsageError` for another kind of PEM, `ServiceError` when the vault refuses.
    """
    from azure.keyvault.keys import KeyReleasePolicy

    private = _private_key(pem)
    made, exchanges = Collector(3, show), list[Any]()
    made.add(
        "own-key",
        "The public half of the own key",
        _public_facts(private),
        proves="This key was made outside the HSM. From now on the vault keeps a copy that cannot be read back.",
        next="Its private numbers travel to the vault in a JWK, inside TLS. Destroy the file when the vault has it.",
    )
    made.add(
        "policy-text",
        "The release policy, as text and as tree",
        policy,
        proves="The vault hands the key out only for a token of this authority whose claims meet every clause.",
        next="Its exact bytes are encoded and sent with the key.",
    )
    with _keys(cloud, vault_url, name, exchanges) as keys:
        key = keys.import_key(
            name,
            _jwk(private),
            hardware_protected=True,
            exportable=True,
            release_policy=KeyReleasePolicy(policy.raw),
        )
        found = described(made, exchanges, key, name, in_hsm=in_hsm(vault_url))
    return _with_differences(made, found, policy)


def new_version(cloud: Cloud, vault_url: str, name: str, *, show: Show | None = None) -> ReleasableKey:
    """Return the new current version of a releasable key: fresh material of the same kind, under the same policy.

    Earlier versions stay, and stay releasable: disable one to end that. The caller needs the key permissions `get` and
    `rotate`. Raises `UsageError` for a key that cannot be released, `ServiceError` when the vault refuses.
    """
    made, exchanges = Collector(3, show), list[Any]()
    with _keys(cloud, vault_url, name, exchanges) as keys:
        before = keys.get_key(name)
        _stored_policy(before)
        made.add(
            "version-before",
            "The current version, so far",
            {"kid": str(before.id), "created": str(before.properties.created_on)},
            proves="A release without a version takes the current one: this one, until the next line.",
            next="The vault makes the next version.",
        )
        key = keys.rotate_key(name)
        return described(made, exchanges, key, name, in_hsm=in_hsm(vault_url))


def change_policy(
    cloud: Cloud, vault_url: str, name: str, policy: ReleasePolicy, *, show: Show | None = None
) -> ReleasableKey:
    """Return the key after its release policy was replaced, for every version. Shows who gains and who loses the key.

    The caller needs the key permissions `get` and `update`. Raises `UsageError` for a key that cannot be released or
    whose policy is immutable, `ServiceError` when the vault refuses.
    """
    from azure.keyvault.keys import KeyReleasePolicy

    from skrkit.policy.diff import diff_policies

    made, exchanges = Collector(3, show), list[Any]()
    with _keys(cloud, vault_url, name, exchanges) as keys:
        before = keys.get_key(name)
        stored = _stored_policy(before)
        if _held(before).immutable:
            raise UsageError(
                what=f"release policy of key {name}",
                where=str(before.id),
                expected="a policy that may change",
                found="an immutable one: neither it nor the flag can change any more",
                fix="Make a key of another name with the new policy.",
                source="Azure Key Vault, key release policy",
            )
        made.add(
            "policy-before",
            "The release policy, so far",
            stored,
            proves="This is what tokens are held against until the change.",
            next="The new policy takes its place, for all versions at once.",
        )
        made.add(
            "policy-change",
            "What the new policy changes",
            diff_policies(stored, policy).to_json(),
            proves="Who gains the key and who loses it: the least tokens that meet the one policy and not the other.",
            next="It is sent to the name without a version: a version of its own has no policy.",
        )
        key = keys.update_key_properties(name, release_policy=KeyReleasePolicy(policy.raw))
        found = described(made, exchanges, key, name, in_hsm=in_hsm(vault_url))
    return _with_differences(made, found, policy)


@contextmanager
def _keys(cloud: Cloud, vault_url: str, name: str, exchanges: list[HttpExchange]) -> Iterator[KeyClient]:
    from azure.keyvault.keys import KeyClient

    from skrkit.services.recording import RecordingTransport

    options = cloud.client_options(RecordingTransport(exchanges.append, **cloud.transport_options()))
    with azure_call(f"key {name}"), KeyClient(vault_url, cloud.credential(), **options) as keys:
        yield keys


def _held(key: KeyVaultKey) -> KeyReleasePolicy:
    stored = key.properties.release_policy
    if stored is None:
        raise UsageError(
            what=f"key {key.name}",
            where=str(key.id),
            expected="an exportable key with a release policy",
            found="a key without one",
            fix="Make a key of another name: a key becomes exportable when it is made, and never afterwards.",
        )
    return stored


def _stored_policy(key: KeyVaultKey) -> ReleasePolicy:
    from skrkit.policy.parse import parse_policy

    return parse_policy(_held(key).encoded_policy)


# --- what the service wrote


def _with_differences(made: Collector, key: ReleasableKey, sent: ReleasePolicy) -> ReleasableKey:
    from dataclasses import replace

    from skrkit.policy.diff import diff_policies

    rewritten: list[Json] = [*rewritings(sent, key.policy)]
    made.add(
        "policy-differences",
        "What the service wrote otherwise than it was sent",
        {
            "effect": diff_policies(sent, key.policy).effect.value,
            "bytes_sent": len(sent.raw),
            "bytes_stored": len(key.policy.raw),
            "rewritten": rewritten,
        },
        proves="The effect is what counts: `same` means that the same tokens release the key.",
        next="Keep the own file as the source, and compare parsed.",
    )
    return replace(key, artefacts=tuple(made.made))


def rewritings(sent: ReleasePolicy, stored: ReleasePolicy) -> list[dict[str, Json]]:
    """Return each place where the stored policy's JSON differs: pointer, what was sent, what is stored.

    White space and the order of members are no difference here; text in place of a boolean is one. None stands for
    what one side has not.
    """
    return list(_rewritings(_parsed(sent), _parsed(stored), ""))


def _parsed(policy: ReleasePolicy) -> dict[str, Json]:
    from skrkit.encoding import json_object

    return json_object(policy.raw, what="release policy", where="/")


def _rewritings(sent: Json, stored: Json, at: str) -> Iterator[dict[str, Json]]:
    if isinstance(sent, dict) and isinstance(stored, dict):
        for name in dict.fromkeys([*sent, *stored]):
            yield from _rewritings(
                sent.get(name), stored.get(name), f"{at}/{name.replace('~', '~0').replace('/', '~1')}"
            )
    elif isinstance(sent, list) and isinstance(stored, list) and len(sent) == len(stored):
        for number, (before, after) in enumerate(zip(sent, stored, strict=True)):
            yield from _rewritings(before, after, f"{at}/{number}")
    elif type(sent) is not type(stored) or sent != stored:
        yield {"pointer": at, "sent": sent, "stored": stored}


# --- an own key


def _private_key(pem: bytes) -> rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    if len(pem) > MAX_PEM_BYTES:
        raise _no_key(f"{len(pem)} bytes")
    try:
        private = load_pem_private_key(pem, None)
    except TypeError:
        raise _no_key("an encrypted one") from None
    except (ValueError, UnsupportedAlgorithm):
        raise _no_key("no private key that OpenSSL reads") from None
    if isinstance(private, rsa.RSAPrivateKey):
        if private.key_size not in RSA_BITS:
            raise _no_key(f"an RSA key of {private.key_size} bits")
        return private
    if isinstance(private, ec.EllipticCurvePrivateKey):
        if private.curve.name not in _CURVES:
            raise _no_key(f"a key on {private.curve.name}")
        return private
    raise _no_key("a key of another kind")


def _no_key(found: str) -> UsageError:
    return UsageError(
        what="own key",
        where="the PEM",
        expected="an unencrypted RSA key of 2048, 3072 or 4096 bits, or one on P-256, P-384, P-521 or P-256K",
        found=found,
        fix="openssl pkey -in key.pem -out plain.pem   takes an encryption off; only where nobody else can read",
    )


def _public_facts(private: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> dict[str, Json]:
    """Return type, size or curve, and the SHA-256 of the public key as DER (SubjectPublicKeyInfo)."""
    import hashlib

    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    public = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    facts: dict[str, Json] = (
        {"kty": "RSA", "bits": private.key_size}
        if isinstance(private, rsa.RSAPrivateKey)
        else {"kty": "EC", "crv": _CURVES[private.curve.name]}
    )
    return facts | {"public_key_sha256": hashlib.sha256(public).hexdigest()}


def _jwk(private: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> JsonWebKey:
    """Return the private key as the SDK's JWK (RFC 7518 section 6)."""
    from azure.keyvault.keys import JsonWebKey
    from cryptography.hazmat.primitives.asymmetric import rsa

    if isinstance(private, rsa.RSAPrivateKey):
        numbers = private.private_numbers()
        members = {
            "n": numbers.public_numbers.n, "e": numbers.public_numbers.e, "d": numbers.d, "p": numbers.p,
            "q": numbers.q, "dp": numbers.dmp1, "dq": numbers.dmq1, "qi": numbers.iqmp,
        }  # fmt: skip
        octets = {name: value.to_bytes((value.bit_length() + 7) // 8, "big") for name, value in members.items()}
        return JsonWebKey(kty="RSA-HSM", **octets)
    size = (private.key_size + 7) // 8
    point, d = private.public_key().public_numbers(), private.private_numbers().private_value
    on_curve = {name: value.to_bytes(size, "big") for name, value in (("x", point.x), ("y", point.y), ("d", d))}
    return JsonWebKey(kty="EC-HSM", crv=_CURVES[private.curve.name], **on_curve)
