"""Raw TPM commands for tests, stated once more by hand: neither the client's nor the vTPM's marshalling is used."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

PW = bytes.fromhex("40000009")
OWNER, NULL, LOCKOUT, ENDORSEMENT, PLATFORM = 0x40000001, 0x40000007, 0x4000000A, 0x4000000B, 0x4000000C
SHA1, SHA256, SHA384, SHA512, SM3 = 0x04, 0x0B, 0x0C, 0x0D, 0x12
RSASSA, RSAES, RSAPSS, OAEP, ECDSA, ALG_NULL = 0x14, 0x15, 0x16, 0x17, 0x18, 0x10
AK_ATTRIBUTES, EPHEMERAL_ATTRIBUTES = 0x00050472, 0x00020432
STORAGE_ATTRIBUTES = 0x00030472
SIGN_ATTRIBUTES = 0x00040472
DECRYPT_ATTRIBUTES = 0x00020472
AES_CFB = bytes.fromhex("000600800043")
NULL_ALG = bytes.fromhex("0010")


def n(size: int, value: int) -> bytes:
    return value.to_bytes(size, "big")


def b2(data: bytes) -> bytes:
    return n(2, len(data)) + data


def password(value: bytes = b"") -> bytes:
    return PW + b"\x00\x00" + b"\x00" + b2(value)


def command(code: int, handles: Sequence[int] = (), parameters: bytes = b"", auths: Sequence[bytes] = ()) -> bytes:
    body = b"".join(n(4, handle) for handle in handles)
    if auths:
        area = b"".join(auths)
        body += n(4, len(area)) + area
    body += parameters
    return n(2, 0x8002 if auths else 0x8001) + n(4, 10 + len(body)) + n(4, code) + body


def selection(*pcrs: int, bank: int = SHA256) -> bytes:
    return n(4, 1) + n(2, bank) + b"\x03" + sum(1 << pcr for pcr in pcrs).to_bytes(3, "little")


def rsa_template(
    attributes: int,
    *,
    policy: bytes = b"",
    symmetric: bytes = NULL_ALG,
    scheme: bytes = NULL_ALG,
    bits: int = 2048,
    exponent: int = 0,
    name_alg: int = SHA256,
    unique: bytes = b"",
) -> bytes:
    head = n(2, 1) + n(2, name_alg) + n(4, attributes) + b2(policy) + symmetric + scheme
    return b2(head + n(2, bits) + n(4, exponent) + b2(unique))


def ecc_template(attributes: int, *, scheme: bytes = NULL_ALG, curve: int = 3, symmetric: bytes = NULL_ALG) -> bytes:
    head = n(2, 0x23) + n(2, SHA256) + n(4, attributes) + b2(b"") + symmetric + scheme
    return b2(head + n(2, curve) + NULL_ALG + b2(b"") + b2(b""))


AK = rsa_template(AK_ATTRIBUTES, scheme=n(2, RSASSA) + n(2, SHA256), unique=bytes(256))
STORAGE = rsa_template(STORAGE_ATTRIBUTES, symmetric=AES_CFB)


def create_primary(
    hierarchy: int,
    template: bytes,
    *,
    auth: bytes = b"",
    data: bytes = b"",
    pcrs: bytes = n(4, 0),
    outside: bytes = b"",
    auths: Sequence[bytes] | None = None,
) -> bytes:
    return command(
        0x131,
        [hierarchy],
        b2(b2(auth) + b2(data)) + template + b2(outside) + pcrs,
        [password()] if auths is None else auths,
    )


def start_session(
    kind: int,
    *,
    nonce: bytes = bytes(32),
    key: int = NULL,
    bind: int = NULL,
    salt: bytes = b"",
    symmetric: bytes = NULL_ALG,
    alg: int = SHA256,
) -> bytes:
    return command(0x176, [key, bind], b2(nonce) + b2(salt) + n(1, kind) + symmetric + n(2, alg))


def nv_public(index: int, attributes: int, size: int, *, alg: int = SHA256, policy: bytes = b"") -> bytes:
    return b2(n(4, index) + n(2, alg) + n(4, attributes) + b2(policy) + n(2, size))


def code_of(response: bytes) -> int:
    return int.from_bytes(response[6:10], "big")


def handle_of(response: bytes) -> int:
    return int.from_bytes(response[10:14], "big")


def kdfa(key: bytes, label: bytes, u: bytes, v: bytes, bits: int) -> bytes:
    message = n(4, 1) + label + b"\x00" + u + v + n(4, bits)
    return hmac.digest(key, message, "sha256")[: bits // 8]


@dataclass
class HmacSession:
    """The caller's end of a SHA-256 session: it makes the command's HMAC and checks the response's."""

    handle: int
    nonce_tpm: bytes
    nonce_caller: bytes = bytes(32)
    key: bytes = b""
    checked: int = field(default=0)

    def auth(
        self,
        code: int,
        names: Sequence[bytes],
        parameters: bytes,
        *,
        value: bytes = b"",
        attributes: int = 1,
        spoil: bool = False,
    ) -> bytes:
        self.nonce_caller = hashlib.sha256(self.nonce_caller).digest()
        cp = hashlib.sha256(n(4, code) + b"".join(names) + parameters).digest()
        mac = hmac.digest(self.key + value, cp + self.nonce_caller + self.nonce_tpm + n(1, attributes), "sha256")
        if spoil:
            mac = bytes([mac[0] ^ 1]) + mac[1:]
        return n(4, self.handle) + b2(self.nonce_caller) + n(1, attributes) + b2(mac)

    def check(self, code: int, response: bytes, *, value: bytes = b"", with_handle: bool = False) -> None:
        """Take the response's nonce, and assert that its HMAC is right. One session, the last of the area."""
        at = 14 if with_handle else 10
        size = int.from_bytes(response[at : at + 4], "big")
        parameters, area = response[at + 4 : at + 4 + size], response[at + 4 + size :]
        length = int.from_bytes(area[:2], "big")
        nonce, attributes, mac = area[2 : 2 + length], area[2 + length : 3 + length], area[5 + length :]
        rp = hashlib.sha256(n(4, 0) + n(4, code) + parameters).digest()
        expected = hmac.digest(self.key + value, rp + nonce + self.nonce_caller + attributes, "sha256")
        assert mac == expected, "the response's HMAC is wrong"
        self.nonce_tpm = nonce
        self.checked += 1


Transceive = Callable[[bytes], bytes]
