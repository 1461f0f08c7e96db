"""Recognition by rule: what wins when text is two things, what forces a kind, and what is refused in which words."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from skrkit.errors import ParseError, SkrkitError, UsageError
from skrkit.inspect.binary import der_length
from skrkit.inspect.kinds import KINDS, kind_named, parse_as
from skrkit.inspect.recognise import MAX_LAYERS, recognise
from skrkit.inspect.text import json_kind, unwrap_text
from skrkit.tpm.templates import ak_template
from skrkit.wire import Json

POLICY = {
    "version": "1.0.0",
    "anyOf": [
        {
            "authority": "https://sharedweu.weu.attest.azure.net",
            "allOf": [{"claim": "x-ms-compliance-status", "equals": "azure-compliant-cvm"}],
        }
    ],
}
POLICY_TEXT = json.dumps(POLICY).encode()


def refused(data: bytes, **options: str) -> SkrkitError:
    with pytest.raises(SkrkitError) as caught:
        recognise(data, as_kind=options.get("as_kind"))
    return caught.value


def is_worded(attempt: Callable[[], object]) -> bool:
    """Whether it ends in a value or in one of the six errors with its words; anything else passes through."""
    try:
        attempt()
    except SkrkitError as error:
        return type(error) in SkrkitError.__subclasses__() and bool(error.what and error.where and error.found)
    return True


def test_each_kind_is_named_as_its_model_names_itself() -> None:
    assert all(name == kind.name for name, kind in KINDS.items())


def test_text_of_hex_digits_is_hex_and_not_base64() -> None:
    assert unwrap_text(b"deadBEEF") == ("hex", b"\xde\xad\xbe\xef")
    assert unwrap_text(b"0xdead beef\n") == ("hex", b"\xde\xad\xbe\xef")
    assert unwrap_text(b"deadbee") == ("base64", base64.b64decode("deadbee="))  # an odd number of digits


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"_-8", ("base64url", b"\xff\xef")),
        (b"_-8=", ("base64url", b"\xff\xef")),
        (b"/+8=", ("base64", b"\xff\xef")),
        (b"/+8", ("base64", b"\xff\xef")),
        (b"aGVs\r\nbG8h\r\n", ("base64", b"hello!")),
        (b"/_8=", None),  # two alphabets
        (b"aGVsb", None),  # five characters stand for no bytes
        (b"aGV=sbG8", None),
        (b"====", None),
        (b"", None),
        (b"hello world!", None),
    ],
)
def test_base64_and_base64url_are_told_by_their_alphabet(text: bytes, expected: tuple[str, bytes] | None) -> None:
    assert unwrap_text(text) == expected


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ({"keys": [{"kid": "HCLAkPub"}]}, "runtime-claims"),
        ({"keys": [], "vm-configuration": {}}, "runtime-claims"),
        ({"keys": [{"kid": "a"}]}, "jwks"),
        ({"keys": []}, "jwks"),
        ({"keys": "none"}, None),
        ({"anyOf": []}, "release-policy"),
        ({"vcekCert": "", "certificateChain": ""}, "thim"),
        ({"vcekCert": ""}, None),
        ({"schema_version": "1.0", "header": {}, "ciphertext": ""}, "key-hsm"),
        ({"EncryptedInnerKey": "", "EncryptionParams": {}}, "sealed-envelope"),
        ({"value": "a.b.c"}, "release-response"),
        ({"value": "abc"}, None),
        ({"value": 1}, None),
        (["00" * 32], "pcrs"),
        ({"0": "00" * 32, "7": "ff" * 32}, "pcrs"),
        (["00" * 31], None),
        ({}, None),
        ([], None),
        ("text", None),
        (None, None),
    ],
)
def test_json_goes_by_its_members(value: Json, kind: str | None) -> None:
    assert json_kind(value) == kind


def test_a_policy_is_found_where_key_vault_keeps_it() -> None:
    url = base64.urlsafe_b64encode(POLICY_TEXT).rstrip(b"=").decode()
    for document, path in (
        ({"contentType": "application/json; charset=utf-8", "data": url}, "json /data"),
        ({"key": {"kid": "k"}, "release_policy": {"data": url}}, "json /release_policy/data"),
    ):
        recognised = recognise(json.dumps(document).encode())
        assert recognised.described.kind == "release-policy"
        assert recognised.path[0] == path
        assert recognised.described.raw == POLICY_TEXT


def test_tpm_structures_go_by_their_first_fields(captures: Path) -> None:
    raw = (captures / "azure-vtpm-quote/quote-sig.bin").read_bytes()
    signature = recognise(bytes.fromhex("0014000b0100") + raw)
    assert signature.described.kind == "tpmt-signature"
    area = ak_template()
    for data in (area, len(area).to_bytes(2, "big") + area):
        assert recognise(data.hex().encode()).described.kind == "tpm2b-public"
        assert recognise(data).described.kind == "tpm2b-public"


def test_a_sealed_token_is_opened_as_far_as_it_can_be() -> None:
    envelope = {
        "EncryptedInnerKey": base64.b64encode(bytes(256)).decode(),
        "EncryptionParams": {
            "Cipher": "AES",
            "BlockMode": "ChainingModeGCM",
            "BlockPadding": "PKCS7",
            "KeySizeInBits": 256,
            "Iv": base64.b64encode(bytes(12)).decode(),
        },
        "AuthenticationData": base64.b64encode(bytes(16)).decode(),
        "Jwt": base64.b64encode(b"x" * 40).decode(),
    }
    token = base64.urlsafe_b64encode(json.dumps(envelope).encode()).rstrip(b"=").decode()
    recognised = recognise(json.dumps({"token": token}).encode())
    assert (recognised.described.kind, recognised.path[0]) == ("sealed-envelope", "json /token")


def test_a_strong_mark_that_does_not_parse_is_a_broken_one_of_its_kind() -> None:
    error = refused(b"HCLA\x01\0\0\0" + bytes(40))
    assert isinstance(error, ParseError)
    assert error.what.startswith("HCL")
    broken = refused(b'{"version": "1.0.0", "anyOf": []}')
    assert "anyOf" in broken.what + broken.where


def test_a_weak_mark_that_does_not_parse_is_said_among_what_was_tried() -> None:
    error = refused(bytes.fromhex("0001000b") + b"\xff" * 40)
    assert error.what == "kind of artefact"
    assert "tried the marks of every binary kind, and tpm2b-public (" in error.found


def test_json_that_is_broken_says_so() -> None:
    assert "not" in refused(b'{"keys": [').found
    assert refused(b'{"a": 1, "a": 2}').found == "member 'a' twice in one object"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (
            b"\x5a" * 7 + b"\xff" + bytes(248),
            "256 bytes that begin 5a5a5a5a, the size of a raw RSA-2048 signature",
        ),
        (b"\x1f\x8b\x08\0", "gzip"),
        (b"PK\x03\x04\0", "a zip archive"),
        (b"\x7fELF\0", "a program"),
        (b"\x30\x03\x02\x01\x05", "DER that is neither"),
        (b"\0", "1 byte that begin"),
        (b"not an artefact", "15 bytes of text that begin 'not an artefact'; tried JSON, PEM, compact JWS, hex"),
        (b'{"b": 1}', "a JSON object with 'b'"),
        (b"{}", "a JSON object with no member"),
        (b"[1]", "a JSON array"),
    ],
)
def test_what_is_unknown_is_described(data: bytes, words: str) -> None:
    error = refused(data)
    assert isinstance(error, ParseError)
    assert words in error.found
    assert error.where == "the whole input"


def test_the_encodings_that_were_opened_are_said() -> None:
    error = refused(base64.b64encode(b"\xff\xfe\xfd" * 9).hex().encode())
    assert error.where == "the bytes inside base64, inside hex"


def test_a_private_key_is_refused_without_being_shown() -> None:
    error = refused(b"-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n")
    assert error.found == "PRIVATE KEY"
    assert "c2VjcmV0" not in str(error)
    assert "never shown" in error.fix


def test_nothing_is_nothing() -> None:
    assert refused(b"").found == "none: it is empty"


def test_an_unknown_kind_lists_the_kinds() -> None:
    with pytest.raises(UsageError) as caught:
        kind_named("hcl")
    assert caught.value.where == "--as"
    assert "hcl-report" in caught.value.expected
    assert caught.value.found == "'hcl'"


def test_a_forced_kind_is_sought_through_the_encodings() -> None:
    recognised = recognise(base64.b64encode(POLICY_TEXT), as_kind="release-policy")
    assert (recognised.described.raw, recognised.path) == (POLICY_TEXT, ("base64",))


def test_a_forced_kind_that_does_not_fit_is_an_error_of_that_kind() -> None:
    error = refused(POLICY_TEXT.hex().encode(), as_kind="snp-report")
    assert "SNP" in error.what
    assert refused(bytes(256), as_kind="tpmt-signature").what.startswith("TPMT_SIGNATURE")


def test_layers_end() -> None:
    data = b"\xff\xfe\xfd"
    for _ in range(MAX_LAYERS + 3):
        data = data.hex().encode()
    assert refused(data).where.count("hex") == MAX_LAYERS


@pytest.mark.parametrize(
    ("data", "length"),
    [
        (b"\x30\x02\x05\0", 4),
        (b"\x30\x81\x80" + bytes(128), 131),
        (b"\x30\x82\x01\0", 260),
        (b"\x30\x84\0\0\0\1", 0),
        (b"1", 0),
    ],
)
def test_der_says_its_length(data: bytes, length: int) -> None:
    assert der_length(data) == length


WORDS = [
    b"HCLA\x01\0\0\0",
    b"\xffTCG\x80\x18",
    b"\x30\x82",
    b"{",
    b"[",
    b'"',
    b"eyJ",
    b".",
    b"-----BEGIN CERTIFICATE-----\n",
]
WORDS += [
    b'{"keys":[',
    b'{"value":"',
    b'{"anyOf":[',
    b'{"vcekCert":"","certificateChain":"","tcbm":""}',
    b"\x00\x01\x00\x0b",
]
WORDS += [
    b"\0\x14\0\x0b",
    b"\0" * 32 + b"Spec ID Event03\0",
    b"\x02\0\0\0" + bytes(1180),
    b"\x81" + bytes(1023),
    b"\xff\xfe",
]


@given(st.lists(st.one_of(st.binary(max_size=64), st.sampled_from(WORDS)), max_size=6).map(b"".join))
@example(b"\x02\0\0\0" + bytes(1180))
@example(b"\x81" + bytes(1023))
@example(b"[" * 100_000)
@example(b'{"a":' * 5000)
@example(b'"\\ud800"')
@example(b'{"token":"\\ud800"}')
@example(b"eyJ.eyJ.eyJ")
@example(b"\xff\xfe\x00\xd8")
@example(b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----")
@example(b"-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----")
@settings(max_examples=400, deadline=None)
def test_any_bytes_are_recognised_or_refused_by_one_of_the_six_errors(data: bytes) -> None:
    assert is_worded(lambda: recognise(data))


@given(
    st.sampled_from(sorted(KINDS)),
    st.one_of(st.binary(max_size=80), st.text(max_size=40).map(str.encode), st.sampled_from(WORDS)),
)
@settings(max_examples=400, deadline=None)
def test_any_bytes_forced_to_any_kind_end_in_one_of_the_six_errors(kind: str, data: bytes) -> None:
    assert is_worded(lambda: parse_as(KINDS[kind], data))
    assert is_worded(lambda: recognise(data, as_kind=kind))
