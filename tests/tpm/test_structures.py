"""Public areas, signatures and PCR digests: as swtpm makes them, and as they must not be."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from hypothesis import given, settings
from hypothesis import strategies as st

from skrkit.errors import ParseError, UsageError
from skrkit.tpm.algorithms import Alg, Curve
from skrkit.tpm.client import Exchange, Tpm
from skrkit.tpm.nvpublic import GUEST_ATTRIBUTES, NvAttributes, marshal_nv_public, parse_nv_public
from skrkit.tpm.pcr import PcrSelection, marshal_selections, parse_selections, pcr_digest, policy_pcr_digest
from skrkit.tpm.public import parse_public
from skrkit.tpm.signature import parse_signature
from skrkit.tpm.templates import ak_template, ek_template, ephemeral_template
from skrkit.tpm.transport import SocketTransport
from skrkit.wire import Described

from .guest_flow import rsa_public

SIGNING = 0x00040072  # sign, userWithAuth, sensitiveDataOrigin, fixedParent, fixedTPM
ECC_TEMPLATE = struct.pack(">HHIHHHHHHHH", 0x0023, 0x000B, SIGNING, 0, 0x0010, 0x0018, 0x000B, 0x0003, 0x0010, 0, 0)
PSS_TEMPLATE = struct.pack(">HHIHHHHHIH", 0x0001, 0x000B, SIGNING, 0, 0x0010, 0x0016, 0x000B, 2048, 0, 0)
HMAC_TEMPLATE = struct.pack(">HHIHHHH", 0x0008, 0x000B, SIGNING, 0, 0x0005, 0x000B, 0)


def _quote_signature(exchange: Exchange) -> tuple[bytes, bytes]:
    """Return attest and TPMT_SIGNATURE of a TPM2_Quote response, cut by hand: 10 header, 4 size, TPM2B."""
    size = struct.unpack_from(">H", exchange.response, 14)[0]
    end = 14 + struct.unpack_from(">I", exchange.response, 10)[0]
    return exchange.response[16 : 16 + size], exchange.response[16 + size : end]


def test_ecdsa_key_and_signature_of_swtpm(swtpm: SocketTransport) -> None:
    exchanges: list[Exchange] = []
    tpm = Tpm(swtpm, on_exchange=exchanges.append)
    key = tpm.create_primary(ECC_TEMPLATE, hierarchy="owner")
    public = tpm.read_public(key.handle)
    assert public.tpmt == key.public.tpmt
    assert (public.type, public.curve, public.scheme, public.scheme_hash) == (
        Alg.ECC,
        Curve.P256,
        Alg.ECDSA,
        Alg.SHA256,
    )
    with pytest.raises(
        ParseError, match="TPMT_SIGNATURE sigAlg at byte 0x0, 2 bytes: expected rsassa or rsapss, found"
    ):
        tpm.quote(key.handle, [0, 1], b"nonce")
    attest, signature_bytes = _quote_signature(exchanges[-1])
    signature = parse_signature(signature_bytes)
    numbers = ec.EllipticCurvePublicNumbers(
        int.from_bytes(public.x, "big"), int.from_bytes(public.y, "big"), ec.SECP256R1()
    )
    der = encode_dss_signature(int.from_bytes(signature.r, "big"), int.from_bytes(signature.s, "big"))
    numbers.public_key().verify(der, attest, ec.ECDSA(hashes.SHA256()))
    assert signature.fields()["alg"] == "ecdsa"
    assert sum(span.size for span in signature.spans()) == len(signature_bytes)
    with pytest.raises(ParseError, match="an RSA modulus of 2048 bits, found ecc"):
        public.rsa_numbers()


def test_rsapss_key_and_signature_of_swtpm(swtpm: SocketTransport) -> None:
    exchanges: list[Exchange] = []
    tpm = Tpm(swtpm, on_exchange=exchanges.append)
    key = tpm.create_primary(PSS_TEMPLATE, hierarchy="owner")
    attest, raw = tpm.quote(key.handle, [0])
    assert parse_signature(_quote_signature(exchanges[-1])[1]).alg is Alg.RSAPSS
    scheme = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.AUTO)
    rsa_public(key.public).verify(raw, attest, scheme, hashes.SHA256())


def test_keyedhash_and_ek_of_swtpm(swtpm: SocketTransport) -> None:
    tpm = Tpm(swtpm)
    keyed = tpm.create_primary(HMAC_TEMPLATE, hierarchy="owner")
    assert (keyed.public.type, keyed.public.scheme, len(keyed.public.unique)) == (Alg.KEYEDHASH, Alg.HMAC, 32)
    assert tpm.read_public(keyed.handle).name() == keyed.public.name()
    ek = tpm.create_primary(ek_template(), hierarchy="endorsement")
    assert (ek.public.symmetric, ek.public.symmetric_bits, ek.public.symmetric_mode) == (Alg.AES, 128, Alg.CFB)
    assert ek.public.attribute_names() == (
        "fixedTPM",
        "fixedParent",
        "sensitiveDataOrigin",
        "adminWithPolicy",
        "restricted",
        "decrypt",
    )
    assert len(ek.public.tpmt) == 314


@pytest.mark.parametrize(
    ("template", "size", "attributes"),
    [
        (ak_template(), 280, 0x00050472),
        (ek_template(), 314, 0x000300B2),
        (ephemeral_template(bytes(32), "null"), 310, 0x00020432),
        (ephemeral_template(bytes(32), "owner"), 54, 0x00020432),
    ],
)
def test_templates_are_azures(template: bytes, size: int, attributes: int) -> None:
    public = parse_public(template)
    assert (len(template), int(public.attributes)) == (size, attributes)
    assert public.marshal() == struct.pack(">H", size) + template
    assert parse_public(public.marshal()).tpmt == template
    with pytest.raises(ParseError, match="found rsa, 0 bits"):
        public.rsa_numbers()


def test_public_forms() -> None:
    template = ak_template()
    public = parse_public(template)
    name = b"\0\x0b" + hashlib.sha256(template).digest()
    assert public.name() == name
    assert isinstance(public, Described)
    read = public.marshal() + b"\0\x22" + name + b"\0\x22" + bytes(34)
    whole = parse_public(read)
    assert (whole.tpmt, whole.qualified_name) == (template, bytes(34))
    assert sum(span.size for span in whole.spans()) == len(read)
    with pytest.raises(ParseError, match=f"expected {name.hex()}, found 000c"):
        parse_public(public.marshal() + b"\0\x22\0\x0c" + name[2:] + b"\0\0")


@pytest.mark.parametrize(
    ("offset", "patch", "words"),
    [
        (0, b"\0\x25", "type at byte 0x0, 2 bytes: expected one of ecc, keyedhash, rsa, found symcipher (0x0025)"),
        (0, b"\x12\x34", "found 0x1234 (0x1234)"),
        (2, b"\0\x27", "nameAlg at byte 0x2, 2 bytes: expected one of sha1, sha256, sha384, sha512, found 0x0027"),
        (4, b"\x80", "objectAttributes at byte 0x4, 4 bytes: expected no reserved bit, found 0x80050472"),
        (8, b"\0\x41", "authPolicy size at byte 0x8, 2 bytes: expected at most 64, found 65"),
        (10, b"\0\x0a", "symmetric at byte 0xA, 2 bytes: expected one of aes, null, found xor (0x000a)"),
        (12, b"\0\x18", "scheme at byte 0xC, 2 bytes: expected one of null, oaep, rsaes, rsapss, rsassa, found ecdsa"),
        (22, b"\x02\x01", "unique size at byte 0x16, 2 bytes: expected at most 512, found 513"),
    ],
)
def test_public_refusals_say_where(offset: int, patch: bytes, words: str) -> None:
    data = bytearray(ak_template())
    data[offset : offset + len(patch)] = patch
    with pytest.raises(ParseError) as refused:
        parse_public(bytes(data))
    assert words in str(refused.value)


def test_public_sizes() -> None:
    template = ak_template()
    with pytest.raises(ParseError, match="TPMT_PUBLIC size at byte 0x0, 2 bytes: expected 280, found 281"):
        parse_public(struct.pack(">H", 281) + template + b"\0")
    with pytest.raises(ParseError, match="publicArea at byte 0x2, 512 bytes: expected 512 more bytes, found 280 left"):
        parse_public(struct.pack(">H", 512) + template)
    with pytest.raises(ParseError, match="expected no more bytes, found 1 trailing"):
        parse_public(template + b"\0")


@settings(max_examples=150, deadline=None)
@given(
    start=st.sampled_from(
        [ak_template(), ek_template(), ECC_TEMPLATE, HMAC_TEMPLATE, parse_public(ak_template()).marshal()]
    ),
    choice=st.data(),
)
def test_broken_publics_raise_parse_errors_only(start: bytes, choice: st.DataObject) -> None:
    broken = bytearray(start[: choice.draw(st.integers(0, len(start)))])
    for _ in range(choice.draw(st.integers(0, 3))):
        if broken:
            broken[choice.draw(st.integers(0, min(40, len(broken) - 1)))] ^= 1 << choice.draw(st.integers(0, 7))
    try:
        public = parse_public(bytes(broken))
    except ParseError:
        return
    assert public.fields()["name"] == public.name().hex()
    assert sum(span.size for span in public.spans()) == len(broken)


def test_signature_refusals_say_where() -> None:
    good = b"\0\x14\0\x0b\x01\0" + bytes(256)
    assert parse_signature(good).rsa_bytes() == bytes(256)
    for data, words in (
        (
            b"\0\x05" + good[2:],
            "sigAlg at byte 0x0, 2 bytes: expected one of ecdsa, rsapss, rsassa, found hmac (0x0005)",
        ),
        (good[:2] + b"\0\x10" + good[4:], "hash at byte 0x2, 2 bytes"),
        (good[:4] + b"\x02\x01" + good[6:], "sig size at byte 0x4, 2 bytes: expected at most 512, found 513"),
        (good + b"\0", "found 1 trailing"),
    ):
        with pytest.raises(ParseError) as refused:
            parse_signature(data)
        assert words in str(refused.value)


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=300))
def test_any_bytes_raise_parse_errors_only(data: bytes) -> None:
    for parse in (parse_signature, parse_public, parse_nv_public, parse_selections):
        for start in (b"", b"\0\x14\0\x0b", b"\0\x01\0\x0b", b"\0\0\0\x01"):
            try:
                parse(start + data)
            except ParseError:
                continue


def test_selection_bits() -> None:
    # The bytes of Azure's clients: Linux FF0000, Windows FF7800, all FFFFFF
    assert PcrSelection.of(range(8)).marshal().hex() == "000b03ff0000"
    assert PcrSelection.of((*range(8), 11, 12, 13, 14)).marshal().hex() == "000b03ff7800"
    assert PcrSelection.of(range(24), Alg.SHA384).marshal().hex() == "000c03ffffff"
    selections = (PcrSelection.of([23, 0, 0]), PcrSelection.of([5], Alg.SHA1))
    assert parse_selections(marshal_selections(selections)) == selections
    for wrong in ([], [24], [-1]):
        with pytest.raises(UsageError, match="PCR list at the list of PCRs: expected one or more of 0 to 23, found"):
            PcrSelection.of(wrong)


def test_policy_digest_written_out() -> None:
    # TPM 2.0 Part 3, TPM2_PolicyPCR, written out by hand; swtpm agrees in the guest flow
    values = {index: bytes([index]) * 32 for index in range(8)}
    digest = hashlib.sha256(b"".join(values.values())).digest()
    selection = PcrSelection.of(values)
    assert pcr_digest(values, selection) == digest
    text = bytes(32) + bytes.fromhex("0000017f00000001000b03ff0000") + digest
    assert policy_pcr_digest(selection, digest) == hashlib.sha256(text).digest()


def test_pcr_digest_names_what_is_missing() -> None:
    with pytest.raises(ParseError, match="PCR 7 at the sha256 PCR values: expected 32 bytes, found nothing"):
        pcr_digest({0: bytes(32)}, PcrSelection.of([0, 7]))
    with pytest.raises(ParseError, match="PCR 0 at the sha256 PCR values: expected 32 bytes, found 20 bytes"):
        pcr_digest({0: bytes(20)}, PcrSelection.of([0]))
    with pytest.raises(ParseError, match="PCR selection at the sha256 bank: expected one PCR or more, found none"):
        pcr_digest({}, PcrSelection(Alg.SHA256, ()))
    with pytest.raises(ParseError, match="expected sha1, sha256, sha384 or sha512, found null"):
        pcr_digest({0: bytes(32)}, PcrSelection(Alg.NULL, (0,)))


def test_nv_public() -> None:
    data = marshal_nv_public(0x01400002, 64, GUEST_ATTRIBUTES)
    assert (len(data), int(GUEST_ATTRIBUTES)) == (14, 0x00060006)
    public = parse_nv_public(data)
    assert isinstance(public, Described)
    assert (public.nv_type, public.written, public.data_size) == ("ordinary", False, 64)
    assert public.name() == b"\0\x0b" + hashlib.sha256(data).digest()
    assert sum(span.size for span in public.spans()) == 14
    for attributes, found in ((1 << 8, "0x00000100"), (3 << 4, "0x00000030")):
        with pytest.raises(ParseError, match=f"attributes at byte 0x6, 4 bytes: .*, found {found}"):
            parse_nv_public(marshal_nv_public(1, 1, attributes))
    assert int(NvAttributes.PLATFORMCREATE) == 0x40000000


def test_ak_pem_is_the_key_of_a_public_area(captures: Path, swtpm: SocketTransport) -> None:
    # Azure's vTPM and swtpm make a key of the same form: 2048 bits, exponent 65537
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    azure = load_pem_public_key((captures / "azure-vtpm-quote" / "ak.pem").read_bytes())
    assert isinstance(azure, rsa.RSAPublicKey)
    numbers = azure.public_numbers()
    template = ak_template()
    area = template[:-256] + numbers.n.to_bytes(256, "big")
    assert parse_public(area).rsa_numbers() == (numbers.n, numbers.e)
    made = Tpm(swtpm).create_primary(template, hierarchy="endorsement").public
    assert made.tpmt[:-256] == area[:-256]
