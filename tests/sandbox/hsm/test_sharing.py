from __future__ import annotations

from itertools import combinations

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from skrkit.encoding import b64url_bytes
from skrkit.sandbox.hsm.sealing import NotOpened, opened, sealed_for, sealed_with
from skrkit.sandbox.hsm.sharing import joined, multiplied, split

KEY = rsa.generate_private_key(65537, 2048)


@pytest.mark.parametrize(
    ("a", "b", "product"),
    [(0x57, 0x83, 0xC1), (0x57, 0x13, 0xFE), (0x57, 0x02, 0xAE), (0x57, 0x04, 0x47), (0x57, 0x10, 0x07)],
)
def test_the_field_is_that_of_the_examples_of_fips_197(a: int, b: int, product: int) -> None:
    assert multiplied(a, b) == multiplied(b, a) == product


def test_shares_lie_on_the_polynomial_that_the_random_bytes_say() -> None:
    # f(x) = 0x57 + 0x83 x: f(2) = 0x57 ^ xtime(0x83), xtime(0x83) = 0x106 ^ 0x11b = 0x1d
    assert split(b"\x57", quorum=2, shares=3, random=b"\x83") == {1: b"\xd4", 2: b"\x4a", 3: b"\xc9"}


@given(st.binary(min_size=1, max_size=33), st.integers(2, 5), st.data())
def test_a_quorum_of_the_shares_gives_the_secret_whichever_they_are(
    secret: bytes, quorum: int, data: st.DataObject
) -> None:
    count = data.draw(st.integers(quorum, 6))
    size = len(secret) * (quorum - 1)
    shares = split(secret, quorum=quorum, shares=count, random=data.draw(st.binary(min_size=size, max_size=size)))
    for some in combinations(shares, quorum):
        assert joined({number: shares[number] for number in some}) == secret


def test_one_share_short_of_a_quorum_fits_every_secret() -> None:
    known = split(b"\x41", quorum=3, shares=3, random=b"\x10\x20")
    possible = {joined({1: known[1], 2: known[2], 3: bytes([guess])}) for guess in range(256)}
    assert len(possible) == 256


def test_a_jwe_opens_by_the_steps_of_rfc_7516_and_by_nobody_else() -> None:
    text = sealed_for(b"a share", KEY.public_key(), kid="1")
    header, key, nonce, content, tag = text.split(".")
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    secret = KEY.decrypt(_bytes(key), oaep)
    assert AESGCM(secret).decrypt(_bytes(nonce), _bytes(content) + _bytes(tag), header.encode()) == b"a share"
    assert _bytes(header) == b'{"alg":"RSA-OAEP-256","enc":"A256GCM","kid":"1"}'
    assert opened(text, KEY) == b"a share"
    with pytest.raises(NotOpened):
        opened(text, rsa.generate_private_key(65537, 2048))
    with pytest.raises(NotOpened):
        opened(f"{header}.{key}.{nonce}.{content[:-2]}AA.{tag}", KEY)


@pytest.mark.parametrize("text", ["", "a.b", "....", "e30.....", "\u2028.a.b.c.d", "e30.AA.AA.AA.AA"])
def test_what_is_no_jwe_is_not_opened(text: str) -> None:
    with pytest.raises(NotOpened):
        opened(text, KEY)
    with pytest.raises(NotOpened):
        opened(text, bytes(32))


def test_a_jwe_for_a_shared_key_is_not_one_for_a_private_key() -> None:
    text = sealed_with(b"content", bytes(32))
    assert opened(text, bytes(32)) == b"content"
    with pytest.raises(NotOpened):
        opened(text, KEY)
    with pytest.raises(NotOpened):
        opened(text, bytes(31) + b"\1")


def _bytes(text: str) -> bytes:
    return b64url_bytes(text, what="a part", where="here")
