"""The proof of a symmetric key, which has no public half: it opens what its owner sealed, or it does not."""

from __future__ import annotations

import pytest

from skrkit.errors import VerificationError
from skrkit.release.proof import prove_symmetric
from skrkit.release.unwrap import ReleasedKey

# NIST's GCM validation vectors, gcmEncryptExtIV256.rsp: Keylen 256, IVlen 96, PTlen 128, AADlen 0, Taglen 128, Count 0
KEY = bytes.fromhex("31bdadd96698c204aa9ce1448ea94ae1fb4a9a0b3c9d773b51bb1822666b8f22")
IV = bytes.fromhex("0d18e06c7c725ac9e362e1ce")
MESSAGE = bytes.fromhex("2db5168e932556f8089a0622981d017d")
CIPHERTEXT = bytes.fromhex("fa4362189661d163fcd6a56d8bf0405a")
TAG = bytes.fromhex("d636ac1bbedd5cc3ee727dc2ab4a9489")


def released(material: bytes) -> ReleasedKey:
    return ReleasedKey(material=material, private_key=None, kty="oct", size_bits=8 * len(material))


def test_the_key_opens_what_its_owner_sealed() -> None:
    proof = prove_symmetric(released(KEY), MESSAGE, iv=IV, ciphertext=CIPHERTEXT, tag=TAG)
    assert (proof.operation, proof.message_bytes) == ("A256GCM: HSM's key encrypts, released key decrypts", 16)


@pytest.mark.parametrize(
    ("material", "message", "tag"),
    [
        (bytes(32), MESSAGE, TAG),
        (KEY[:16], MESSAGE, TAG),
        (KEY[:7], MESSAGE, TAG),
        (b"", MESSAGE, TAG),
        (KEY, b"another message", TAG),
        (KEY, MESSAGE, bytes(16)),
        (KEY, MESSAGE, b""),
    ],
)
def test_another_key_message_or_tag_is_no_proof(material: bytes, message: bytes, tag: bytes) -> None:
    with pytest.raises(VerificationError) as refused:
        prove_symmetric(released(material), message, iv=IV, ciphertext=CIPHERTEXT, tag=tag)
    assert refused.value.step == "release.proof"
    assert KEY.hex() not in str(refused.value)
