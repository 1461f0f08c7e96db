"""The sealed envelope: sealed here by the protocol's words with `cryptography`, then opened, then tampered with.

No captured envelope is known: what stands outside is how three public clients open one, Microsoft's in C++ and in
Python (confidential-computing-cvm-guest-attestation, cvm-attestation-tools) and edgelesssys/go-azguestattestation.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from skrkit.encoding import b64url
from skrkit.errors import ParseError, VerificationError
from skrkit.token.envelope import open_envelope, parse_sealed_envelope
from skrkit.wire import Described
from tests.token.keys import claims, header, rsa_key, sign

JWT = sign(header(), claims(), rsa_key("maa"))
INNER_KEY = bytes(range(32))
IV = bytes(range(12))


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def members(inner_key: bytes = INNER_KEY, plain: bytes = JWT, aad: bytes = b"Transport Key") -> dict[str, Any]:
    sealed = AESGCM(inner_key).encrypt(IV, plain, aad)
    wrapped = rsa_key("ephemeral").public_key().encrypt(inner_key, PKCS1v15())
    return {
        "EncryptedInnerKey": b64(wrapped),
        "EncryptionParams": {
            "BlockMode": "ChainingModeGCM", "BlockPadding": "PKCS7", "Cipher": "AES", "KeySizeInBits": 256,
            "Iv": b64(IV),
        },
        "AuthenticationData": b64(sealed[-16:]),
        "Jwt": b64(sealed[:-16]),
    }  # fmt: skip


def answer(document: dict[str, Any]) -> bytes:
    return json.dumps({"token": b64url(json.dumps(document).encode())}).encode()


def decrypt(wrapped: bytes) -> bytes:
    return rsa_key("ephemeral").decrypt(wrapped, PKCS1v15())


@pytest.mark.parametrize("size", [16, 24, 32])
def test_an_envelope_opens_with_its_key(size: int) -> None:
    document = members(INNER_KEY[:size])
    envelope = parse_sealed_envelope(answer(document))
    assert isinstance(envelope, Described)
    assert (envelope.kind, envelope.iv, envelope.key_size_bits, envelope.unknown) == ("sealed-envelope", IV, 256, ())
    assert (len(envelope.encrypted_inner_key), len(envelope.tag), len(envelope.ciphertext)) == (256, 16, len(JWT))
    assert open_envelope(envelope, decrypt).encode() == JWT
    assert open_envelope(parse_sealed_envelope(json.dumps(document)), decrypt).encode() == JWT
    assert envelope.spans() == ()
    assert envelope.raw == answer(document)


def test_a_leading_zero_of_the_inner_key_is_dropped_and_an_unknown_member_is_kept_by_name() -> None:
    document = members()
    document["EncryptedInnerKey"] = b64(b"\0" + base64.b64decode(document["EncryptedInnerKey"]))
    document["EncryptionParams"]["New"] = 1
    envelope = parse_sealed_envelope(answer(document))
    assert open_envelope(envelope, decrypt).encode() == JWT
    assert envelope.fields()["not_recognised"] == ["/EncryptionParams/New"]


def flipped(text: str) -> str:
    data = base64.b64decode(text)
    return b64(bytes([data[0] ^ 1]) + data[1:])


Edit = Callable[[dict[str, Any]], Any]
TAMPERED: dict[str, tuple[Edit, str]] = {
    "ciphertext": (lambda document: document.update(Jwt=flipped(document["Jwt"])), "envelope.tag"),
    "tag": (lambda document: document.update(AuthenticationData=b64(bytes(16))), "envelope.tag"),
    "iv": (lambda document: document["EncryptionParams"].update(Iv=b64(bytes(12))), "envelope.tag"),
    "another envelope's key": (
        lambda document: document.update(EncryptedInnerKey=members(bytes(32))["EncryptedInnerKey"]), "envelope.tag"
    ),
    "another AAD": (lambda document: document.update(members(aad=b"transport key")), "envelope.tag"),
    "no AAD": (lambda document: document.update(members(aad=b"")), "envelope.tag"),
    "no text inside": (lambda document: document.update(members(plain=b"\xff" * 50)), "envelope.jwt"),
}  # fmt: skip


@pytest.mark.parametrize("name", TAMPERED)
def test_a_changed_envelope_does_not_open(name: str) -> None:
    edit, step = TAMPERED[name]
    document = members()
    edit(document)
    with pytest.raises(VerificationError) as caught:
        open_envelope(parse_sealed_envelope(answer(document)), decrypt)
    assert caught.value.step == step


@pytest.mark.parametrize("size", [0, 15, 31, 33, 64])
def test_an_inner_key_of_another_size(size: int) -> None:
    with pytest.raises(VerificationError) as caught:
        open_envelope(parse_sealed_envelope(answer(members())), lambda wrapped: bytes(size))
    assert (caught.value.step, caught.value.found) == ("envelope.inner_key", f"{size} bytes")
    assert caught.value.expected == "an AES key of 16, 24 or 32 bytes"


REFUSED: list[tuple[str, Edit, str, str, str]] = [
    ("no key", lambda doc: doc.pop("EncryptedInnerKey"), "/EncryptedInnerKey", "a string", "nothing"),
    ("short key", lambda doc: doc.update(EncryptedInnerKey=b64(bytes(255))), "/EncryptedInnerKey", "256", "255 bytes"),
    ("long key", lambda doc: doc.update(EncryptedInnerKey=b64(b"\1" * 257)), "/EncryptedInnerKey", "256", "257 bytes"),
    ("no params", lambda doc: doc.pop("EncryptionParams"), "/EncryptionParams", "an object", "nothing"),
    ("CBC", lambda doc: doc["EncryptionParams"].update(BlockMode="ChainingModeCBC"), "/EncryptionParams/BlockMode",
     "'ChainingModeGCM'", "'ChainingModeCBC'"),
    ("padding", lambda doc: doc["EncryptionParams"].pop("BlockPadding"), "/EncryptionParams/BlockPadding", "a string",
     "nothing"),
    ("cipher", lambda doc: doc["EncryptionParams"].update(Cipher="3DES"), "/EncryptionParams/Cipher", "AES", "3DES"),
    ("size 0", lambda doc: doc["EncryptionParams"].update(KeySizeInBits=0), "/EncryptionParams/KeySizeInBits", "above",
     "0"),
    ("size text", lambda doc: doc["EncryptionParams"].update(KeySizeInBits="256"), "/EncryptionParams/KeySizeInBits",
     "an integer", "a JSON string"),
    ("iv 16", lambda doc: doc["EncryptionParams"].update(Iv=b64(bytes(16))), "/EncryptionParams/Iv", "12 bytes",
     "16 bytes"),
    ("tag 12", lambda doc: doc.update(AuthenticationData=b64(bytes(12))), "/AuthenticationData", "16 byte", "12 byte"),
    ("no jwt", lambda doc: doc.update(Jwt=""), "/Jwt", "1 to 65536 bytes", "0 bytes"),
    ("not base64", lambda doc: doc.update(Jwt="a*b"), "/Jwt", "base64", "3 characters"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("edit", "where", "expected", "found"), [pytest.param(*row, id=name) for name, *row in REFUSED]
)
def test_a_malformed_envelope(edit: Edit, where: str, expected: str, found: str) -> None:
    document = members()
    edit(document)
    with pytest.raises(ParseError) as caught:
        parse_sealed_envelope(answer(document))
    assert caught.value.where == where
    assert expected in caught.value.expected
    assert found in caught.value.found


def test_an_open_token_is_no_envelope_and_the_error_says_so() -> None:
    for data in (JWT, json.dumps({"token": JWT.decode()}).encode()):
        with pytest.raises(ParseError):
            parse_sealed_envelope(data)


@settings(max_examples=80, deadline=None)
@given(st.binary(max_size=60) | st.text(max_size=60))
def test_anything_else_is_a_parse_error(data: bytes | str) -> None:
    with pytest.raises(ParseError):
        parse_sealed_envelope(data)
