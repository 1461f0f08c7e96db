"""Backup and restore of a key with all its versions, as a blob that only this sandbox can read."""

from __future__ import annotations

import json

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from starlette.responses import JSONResponse, Response

from skrkit.encoding import b64url, b64url_bytes
from skrkit.errors import ParseError
from skrkit.sandbox import chance
from skrkit.sandbox.store import Document
from skrkit.sandbox.vault import bundle, errors
from skrkit.sandbox.vault.call import Call
from skrkit.sandbox.web import AzureError

KIND, KEY = "vault-backup", "key"
KEY_BYTES, NONCE_BYTES = 32, 12


def _cipher(call: Call) -> AESGCM:
    """Return the cipher of backups: one key for all vaults, for a Managed HSM its security domain's."""
    if call.vault.backup_key:
        return AESGCM(call.vault.backup_key)
    with call.lock:
        document = call.world.store.get(KIND, KEY)
        if document is None:
            document = {"key": b64url(chance.token_bytes("backup/key", KEY_BYTES))}
            call.world.store.put(KIND, KEY, document)
    return AESGCM(b64url_bytes(document["key"], what="backup key", where="/key"))


def backup_key(call: Call) -> Response:
    """Return the blob: nonce and AES-GCM ciphertext of the key's documents. The format is the sandbox's own."""
    named = call.keys.require_name(call.name)
    content: Document = {"named": named, "versions": list(call.keys.every_version(call.name))}
    nonce = chance.token_bytes("backup/nonce", NONCE_BYTES)
    blob = nonce + _cipher(call).encrypt(nonce, json.dumps(content).encode(), None)
    return JSONResponse({"value": b64url(blob)})


def restore_key(call: Call) -> Response:
    """Return the bundle of the restored key, with its old name and versions. Raises 409 if the name is taken."""
    content = _opened(call)
    named: Document = content["named"]
    if not call.vault.premium and any(version["kty"].endswith("-HSM") for version in content["versions"]):
        raise errors.hardware_on_standard()  # for a restore inferred
    with call.lock:
        if call.keys.deleted(named["name"], now=call.world.now()) is not None:
            raise errors.deleted_but_recoverable(named["name"])
        if call.keys.name(named["name"]) is not None:
            raise AzureError(409, "Conflict", f"A key with the name {named['name']} exists in this key vault already.")
        with call.world.store.transaction():
            for version in content["versions"]:
                call.keys.write_version(named["name"], version)
            call.keys.write(named)
        _, current = call.keys.require(named["name"])
    return JSONResponse(bundle.key_bundle(call, named, current))


def _opened(call: Call) -> Document:
    value = call.body.get("value")
    try:
        blob = b64url_bytes(value if isinstance(value, str) else "", what="backup", where="/value")
        content: Document = json.loads(_cipher(call).decrypt(blob[:NONCE_BYTES], blob[NONCE_BYTES:], None))
    except (ParseError, InvalidTag, ValueError):
        raise errors.bad_parameter('The property "value" is not a backup of a key of this service.') from None
    return content
