"""`x-ms-runtime` against what it is made of: the paravisor's runtime claims, or the ephemeral key and the payload.

Azure Attestation copies the paravisor's JSON member by member, in another order. So every member is compared, those
that the catalogue does not know as well, and one that is missing on either side is a difference.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping

from skrkit.encoding import b64url, json_object
from skrkit.errors import SkrkitError
from skrkit.token.recomputed import NOT_GIVEN, Answer, ClaimEvidence, NotRecomputed, Recomputed, unreadable
from skrkit.wire import Json, pointer, where

RUNTIME = "x-ms-runtime"
EPHEMERAL_KID = "TpmEphemeralEncryptionKey"
_ANY_CASE = frozenset({"/user-data", "/vm-configuration/vmUniqueId"})  # hex and a GUID, upper or lower by firmware
_KEY_ORDER = ("kid", "key_ops", "kty", "e", "n")


def paravisor_document(evidence: ClaimEvidence) -> dict[str, Json] | NotRecomputed:
    """Return the runtime claims as JSON, or why there are none to read."""
    data, what = evidence.runtime_data, "runtime data"
    if evidence.hcl:
        opened = evidence.opened()
        if isinstance(opened, NotRecomputed):
            return opened
        data, what = opened.runtime_data, "runtime claims"
    if not data:
        return NotRecomputed("no HCL report and no runtime data were given")
    try:
        return json_object(data, what=what, where="the whole text")
    except SkrkitError as error:
        return unreadable(error)


def paravisor_claims(evidence: ClaimEvidence) -> dict[str, Answer] | NotRecomputed:
    """Return every leaf of the runtime claims by its JSON pointer; the keys of `/keys` by kid: `/keys/HCLAkPub/n`."""
    document = paravisor_document(evidence)
    if isinstance(document, NotRecomputed):
        return document
    return {
        at: Recomputed(value=value, source=f"runtime claims {at}", any_case=at in _ANY_CASE)
        for at, value in leaves(document)
    }


def leaves(value: Json, at: str = "") -> Iterator[tuple[str, Json]]:
    """Return every leaf with its pointer. A list of scalars is a leaf; entries with a kid are named by it."""
    if isinstance(value, dict) and value:
        for name, member in value.items():
            yield from leaves(member, at + pointer(name))
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        for place, (name, item) in zip(range(len(value)), _named(value), strict=True):
            yield from leaves(item, at + pointer(name if name else place))
    else:
        yield at, value


def _named(items: list[Json]) -> Iterator[tuple[str, Json]]:
    seen: set[str] = set()
    for item in items:
        kid = item.get("kid") if isinstance(item, dict) else None
        name = kid if isinstance(kid, str) and kid not in seen else ""
        seen.add(name)
        yield name, item


def guest_runtime_claims(evidence: ClaimEvidence) -> dict[str, Answer]:
    """Return the leaves of a guest token's own `x-ms-runtime`: the one key that was certified, and the payload."""
    return {**_transfer_key(evidence.key_public), **_payload(evidence)}


def _transfer_key(key_public: bytes) -> dict[str, Answer]:
    at = f"/keys/{EPHEMERAL_KID}"
    if not key_public:
        why = NotRecomputed("the ephemeral key's public area was not given")
        return {f"{at}/{name}": why for name in _KEY_ORDER}
    from skrkit.tpm.public import parse_public

    try:
        public = parse_public(key_public)
        modulus, exponent = public.rsa_numbers()
    except SkrkitError as error:
        return {f"{at}/{name}": unreadable(error) for name in _KEY_ORDER}
    tail = where(len(key_public) - len(public.unique), len(public.unique))
    number = exponent.to_bytes((exponent.bit_length() + 7) // 8, "big")
    return {
        f"{at}/n": Recomputed(
            value=b64url(modulus.to_bytes(len(public.unique), "big")), source=f"TPM2B_PUBLIC unique, {tail}"
        ),
        f"{at}/e": Recomputed(value=b64url(number), source="TPM2B_PUBLIC exponent"),
        f"{at}/kty": Recomputed(value=public.type.name, source="TPM2B_PUBLIC type"),
        f"{at}/kid": Recomputed(value=EPHEMERAL_KID, source="the protocol's own name for it"),
        f"{at}/key_ops": Recomputed(value=["encrypt"], source="the protocol's own word for it"),
    }


def _payload(evidence: ClaimEvidence) -> dict[str, Answer]:
    sent = evidence.request.get("ClientPayload")
    if isinstance(sent, Mapping):
        return {
            f"/client-payload{at}": Recomputed(value=value, source=f"request /ClientPayload{at}")
            for at, value in leaves(dict(sent))
        }
    if evidence.nonce:
        echoed = base64.b64encode(evidence.nonce.encode()).decode("ascii")
        return {"/client-payload/nonce": Recomputed(value=echoed, source="base64 of the nonce that was asked for")}
    return {"/client-payload/nonce": NotRecomputed(NOT_GIVEN)}


def rebuilt_report_data(runtime: Mapping[str, Json]) -> str | None:
    """Return the REPORT_DATA, in hex, that a token's own copy of the paravisor's claims leads to; None without keys.

    The claims are written compactly again, in the paravisor's order: keys (kid, key_ops, kty, e, n), vm-configuration,
    user-data. That reproduces the bytes of the images of 2022, not of every later one: equality proves that the token
    binds its keys to the report, and a difference proves nothing. Source: captured tokens.
    """
    keys = runtime.get("keys")
    if not isinstance(keys, list):
        return None
    ordered: dict[str, Json] = {
        "keys": [
            {name: key[name] for name in (*_KEY_ORDER, *key) if name in key} if isinstance(key, dict) else key
            for key in keys
        ]
    }
    names = ("vm-configuration", "user-data", *runtime)
    ordered |= {name: runtime[name] for name in names if name in runtime and name != "keys"}
    text = json.dumps(ordered, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest() + "0" * 64
