"""Making keys from templates: primaries out of a hierarchy's seed, and children wrapped by their parent."""

from __future__ import annotations

import hmac
from dataclasses import replace

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from skrkit.sandbox import chance, keygen
from skrkit.sandbox.vtpm.algorithms import cfb, digest, digest_size, hmac_digest, kdfa
from skrkit.sandbox.vtpm.buffer import Reader, tpm2b, u8, u16, u32
from skrkit.sandbox.vtpm.codes import MAX_DIGEST, ST_CREATION, Alg, Rc, TpmError
from skrkit.sandbox.vtpm.core import Core
from skrkit.sandbox.vtpm.keys import (
    DEFAULT_EXPONENT,
    Key,
    PrivateKey,
    generate,
    qualified_name,
    storage_seed,
    unique_of,
)
from skrkit.sandbox.vtpm.structures import (
    ECC_P256,
    PublicArea,
    Selections,
    Sensitive,
    Ticket,
    marshal_selections,
    read_sensitive,
)
from skrkit.sandbox.vtpm.template import STORAGE

LOCALITY_ZERO = 1  # TPMA_LOCALITY


def primary(core: Core, hierarchy: int, template: PublicArea, auth: bytes = b"", data: bytes = b"") -> Key:
    """Return the primary key that the template gives in the hierarchy: the same one each time it is asked for.

    A TPM computes the key anew from its seed. Here it is made once and kept by hierarchy and template, which nobody can
    tell from the outside; in the NULL hierarchy until the next TPM Reset. `data`, the caller's, gives other keys.
    """
    origin = template.name() + data
    at = (int(hierarchy), origin.hex())
    private = core.state.primaries.get(at)
    if private is None:
        private = generate(template)
        core.state.primaries[at] = private
        core.dirty = True
    area = replace(template, unique=unique_of(private))
    seed = b""
    if area.has(STORAGE):
        seed = storage_seed(area.name_alg, core.state.seeds[hierarchy], origin)
    return Key(
        public=area,
        hierarchy=int(hierarchy),
        qualified_name=qualified_name(area.name_alg, u32(hierarchy), area.name()),
        auth=auth,
        seed=seed,
        private=private,
    )


def creation_data(
    core: Core, key: Key, parent: Key | None, selections: Selections, outside_info: bytes
) -> tuple[bytes, bytes, bytes]:
    """Return TPMS_CREATION_DATA, its digest, and the ticket that binds it to the key's name."""
    name_alg = key.public.name_alg
    if parent is None:
        parent_alg, parent_name, parent_qualified = int(Alg.NULL), u32(key.hierarchy), u32(key.hierarchy)
    else:
        parent_alg, parent_name, parent_qualified = parent.public.name_alg, parent.name, parent.qualified_name
    present = core.state.pcrs.present(selections)
    data = (
        marshal_selections(present)
        + tpm2b(core.state.pcrs.digest(name_alg, present))
        + u8(LOCALITY_ZERO)
        + u16(parent_alg)
        + tpm2b(parent_name)
        + tpm2b(parent_qualified)
        + tpm2b(outside_info)
    )
    creation_hash = digest(name_alg, data)
    proof = core.ticket_digest(key.hierarchy, ST_CREATION, key.name, creation_hash)
    return data, creation_hash, Ticket(tag=ST_CREATION, hierarchy=key.hierarchy, digest=proof).marshal()


def child(template: PublicArea, parent: Key, auth: bytes) -> Key:
    """Return a new key under `parent`, not yet loaded."""
    private = generate(template)
    area = replace(template, unique=unique_of(private))
    return Key(
        public=area,
        hierarchy=parent.hierarchy,
        qualified_name=qualified_name(area.name_alg, parent.qualified_name, area.name()),
        auth=auth,
        seed=chance.token_bytes("vtpm/seed", digest_size(area.name_alg)) if area.has(STORAGE) else b"",
        private=private,
    )


# TPM2B_PRIVATE: the sensitive area, encrypted and authenticated under the parent's seed (part 1, clause 22)


def marshal_sensitive(key: Key) -> bytes:
    """Return the TPMT_SENSITIVE: of RSA one prime is enough."""
    private = key.private_key
    if isinstance(private, rsa.RSAPrivateKey):
        secret = private.private_numbers().p.to_bytes(key.public.bits // 16, "big")
    else:
        secret = private.private_numbers().private_value.to_bytes((private.key_size + 7) // 8, "big")
    padded = key.auth.ljust(digest_size(key.public.name_alg), b"\x00")
    return u16(key.public.type) + tpm2b(padded) + tpm2b(key.seed) + tpm2b(secret)


def assemble(area: PublicArea, sensitive: Sensitive) -> bytes:
    """Return the private key of the two halves, as PKCS#8 DER. TPM_RC_TYPE, TPM_RC_BINDING if they do not fit."""
    if sensitive.type != area.type:
        raise TpmError(Rc.TYPE)
    secret = int.from_bytes(sensitive.secret, "big")
    key: PrivateKey
    if area.type == Alg.RSA:
        modulus = int.from_bytes(area.unique, "big")
        if secret < 3 or modulus % secret or area.exponent not in (0, DEFAULT_EXPONENT):
            raise TpmError(Rc.BINDING)
        try:
            key = keygen.rsa_numbers(secret, modulus // secret, DEFAULT_EXPONENT).private_key()
        except ValueError:
            raise TpmError(Rc.BINDING) from None
    else:
        curve: ec.EllipticCurve = ec.SECP256R1() if area.curve == ECC_P256 else ec.SECP384R1()
        try:
            key = ec.derive_private_key(secret, curve)
        except ValueError:
            raise TpmError(Rc.KEY_SIZE) from None
    private = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    if unique_of(private) != area.unique:
        raise TpmError(Rc.BINDING)
    return private


def _wrapping(parent: Key, name: bytes) -> tuple[int, bytes, bytes]:
    alg, bits = parent.public.name_alg, parent.public.symmetric.bits
    return (
        alg,
        kdfa(alg, parent.seed, b"STORAGE", name, b"", bits),
        kdfa(alg, parent.seed, b"INTEGRITY", b"", b"", digest_size(alg) * 8),
    )


def wrap(key: Key, parent: Key) -> bytes:
    """Return the content of the TPM2B_PRIVATE: integrity, initial vector, encrypted sensitive area."""
    alg, secret, integrity = _wrapping(parent, key.name)
    vector = chance.token_bytes("vtpm/vector", 16)
    body = tpm2b(vector) + cfb(secret, vector, tpm2b(marshal_sensitive(key)), decrypt=False)
    return tpm2b(hmac_digest(alg, integrity, body, key.name)) + body


def unwrap(wrapped: bytes, area: PublicArea, parent: Key) -> Key:
    """Return the key of a TPM2B_PRIVATE and its public area; TPM_RC_INTEGRITY if either was changed."""
    name = area.name()
    alg, secret, integrity = _wrapping(parent, name)
    reader = Reader(wrapped)
    tag = reader.sized(MAX_DIGEST)
    body = reader.rest()
    if not hmac.compare_digest(tag, hmac_digest(alg, integrity, body, name)):
        raise TpmError(Rc.INTEGRITY)
    vector = reader.sized(16)
    inner = Reader(cfb(secret, vector, reader.rest(), decrypt=True))
    inner.u16()
    sensitive = read_sensitive(inner)
    return Key(
        public=area,
        hierarchy=parent.hierarchy,
        qualified_name=qualified_name(area.name_alg, parent.qualified_name, name),
        auth=sensitive.auth,
        seed=sensitive.seed,
        private=assemble(area, sensitive),
    )
