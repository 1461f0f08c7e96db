from __future__ import annotations

import hmac
import json
from itertools import permutations

import pytest
from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from skrkit.encoding import b64url
from skrkit.sandbox.hsm.sealing import NotOpened, _tag, derived, opened, sealed_for, sealed_with
from skrkit.sandbox.hsm.sharing import joined, split
from tests.sandbox.hsm import holders
from tests.sandbox.hsm.holders import raw

KEY = rsa.generate_private_key(65537, 2048)


def test_shares_lie_on_the_polynomial_that_the_random_numbers_say() -> None:
    # f(x) = 0x57 + 131 x mod 257: f(1) = 218, f(2) = 349 - 257 = 92, f(3) = 480 - 257 = 223; place and value, packed
    shares = split(b"\x57", quorum=2, shares=3, random=(131).to_bytes(2, "little"))
    assert [int.from_bytes(share, "little") for share in shares] == [1 << 9 | 218, 2 << 9 | 92, 3 << 9 | 223]
    assert joined(shares[1:]) == b"\x57"


def test_a_value_of_256_is_kept() -> None:
    # f(x) = 255 + x mod 257: f(1) = 256, which is no byte, and f(2) = 0
    shares = split(b"\xff", quorum=2, shares=2, random=b"\1\0")
    assert [int.from_bytes(share, "little") & 0x1FF for share in shares] == [256, 0]
    assert joined(shares) == b"\xff"


@given(st.binary(min_size=1, max_size=33), st.integers(2, 5), st.data())
def test_a_quorum_of_the_shares_gives_the_secret_whichever_they_are(
    secret: bytes, quorum: int, data: st.DataObject
) -> None:
    count = data.draw(st.integers(quorum, 6))
    size = 2 * len(secret) * (quorum - 1)
    shares = split(secret, quorum=quorum, shares=count, random=data.draw(st.binary(min_size=size, max_size=size)))
    for some in permutations(shares, quorum):
        assert joined(some) == secret


def test_one_share_short_of_a_quorum_fits_every_secret() -> None:
    known = split(b"\x41", quorum=3, shares=3, random=bytes(range(1, 5)))
    possible = set()
    for guess in range(257):
        try:
            possible.add(joined([*known[:2], (3 << 9 | guess).to_bytes(2, "little")]))
        except ValueError:  # 256, which no secret has
            continue
    assert len(possible) == 256


def test_a_share_that_is_given_twice_is_no_second_one() -> None:
    shares = split(b"ab", quorum=2, shares=3, random=bytes(4))
    for wrong in ([shares[0], shares[0]], [shares[0], shares[1][:2]]):
        with pytest.raises(ValueError, match=r"twice|shorter"):
            joined(wrong)


def test_a_key_is_derived_as_sp_800_108_has_it() -> None:
    # Counter mode, HMAC-SHA-512, one block: [1] || label || 0 || context || [512]
    block = b"\0\0\0\1" + b"label" + b"\0" + b"\0\0\2\0"
    assert derived(b"k" * 32, "label") == hmac.digest(b"k" * 32, block, "sha512")


def test_a_jwe_opens_by_the_steps_of_rfc_7516_and_by_nobody_else() -> None:
    text = sealed_for(b"a share", KEY.public_key(), kid="1")
    header, key, iv, content, tag = text.split(".")
    assert json.loads(raw(header)) == {"alg": "RSA-OAEP-256", "enc": "A256CBC-HS512", "kid": "1"}
    assert holders.opened(text, KEY) == b"a share"
    assert opened(text, KEY) == b"a share"
    with pytest.raises(NotOpened):
        opened(text, rsa.generate_private_key(65537, 2048))
    for changed in (
        f"{header}.{key}.{iv}.{content}.{tag[:-2]}AA",
        f"{header}.{key}.{iv}.{b64url(raw(content)[:-1] + bytes([raw(content)[-1] ^ 1]))}.{tag}",
        f"{header}.{key}.{b64url(bytes(16))}.{content}.{tag}",
        f"{header[:-4]}.{key}.{iv}.{content}.{tag}",
        f"{header}.{key}.{iv}.{content}.",
    ):
        with pytest.raises(NotOpened):
            opened(changed, KEY)


def test_the_example_of_rfc_7518_for_this_algorithm() -> None:
    """Appendix B.3, with its key, IV and plaintext; its additional data is not a header, so the pieces are held up."""
    key = bytes(range(64))
    iv = bytes.fromhex("1af38c2dc2b96ffdd86694092341bc04")
    plain = (
        b"A cipher system must not be required to be secret, and it must be able to fall into the hands of the enemy "
        b"without inconvenience"
    )
    sealed = Cipher(algorithms.AES(key[32:]), modes.CBC(iv)).encryptor()
    padder = padding.PKCS7(128).padder()
    content = sealed.update(padder.update(plain) + padder.finalize()) + sealed.finalize()
    assert content.hex().startswith("4affaaadb78c31c5da4b1b590d10ffbd")
    covered = b"The second principle of Auguste Kerckhoffs"
    assert _tag(key, covered.decode(), iv, content).hex() == (
        "4dd3b4c088a7f45c216839645b2012bf2e6269a8c56a816dbc1b267761955bc5"
    )


@pytest.mark.parametrize("text", ["", "a.b", "....", "e30.....", "\u2028.a.b.c.d", "e30.AA.AA.AA.AA"])
def test_what_is_no_jwe_is_not_opened(text: str) -> None:
    with pytest.raises(NotOpened):
        opened(text, KEY)
    with pytest.raises(NotOpened):
        opened(text, bytes(32))


def test_a_jwe_for_a_shared_key_is_not_one_for_a_private_key() -> None:
    text = sealed_with(b"content", bytes(64))
    assert opened(text, bytes(64)) == b"content"
    with pytest.raises(NotOpened):
        opened(text, KEY)
    with pytest.raises(NotOpened):
        opened(text, bytes(63) + b"\1")
