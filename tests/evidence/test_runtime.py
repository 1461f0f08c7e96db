"""Runtime claims: real ones, the old and the new; and JSON that is not claims."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skrkit.errors import ParseError
from skrkit.evidence.hcl import parse_hcl_report
from skrkit.evidence.runtime import parse_runtime_claims
from tests.evidence.attempt import attempt, is_worded


def test_claims_of_2023_have_one_key_and_no_user_data(captures: Path) -> None:
    blob = (captures / "azure-snp-hcl-vcek-mismatch" / "hcl-report.bin").read_bytes()
    claims = parse_hcl_report(blob).runtime_claims
    assert [key.kid for key in claims.keys] == ["HCLAkPub"]
    assert claims.user_data == b""
    assert claims.vm_unique_id == "BAEFD3E1-184B-4C4C-AB88-0BDAD260505F"
    with pytest.raises(ParseError) as caught:
        claims.key("HCLEkPub")
    assert (caught.value.expected, caught.value.found) == ("a key with kid HCLEkPub", "HCLAkPub")


def test_claims_as_a_file_of_their_own(captures: Path) -> None:
    data = (captures / "azure-vtpm-quote" / "runtime-claims-other-vm.json").read_bytes()
    claims = parse_runtime_claims(data)
    modulus, exponent = claims.key("HCLAkPub").public_numbers()
    assert (modulus.bit_length(), exponent) == (2048, 65537)
    assert len(claims.user_data) == 64
    assert claims.fields() == json.loads(data)


def test_unknown_claims_are_kept() -> None:
    claims = parse_runtime_claims(b'{"keys":[{"kid":"x","kty":"OKP","new":1}],"later":{"a":[1]}}')
    assert claims.fields()["later"] == {"a": [1]}
    with pytest.raises(ParseError) as caught:
        claims.keys[0].public_numbers()
    assert (caught.value.expected, caught.value.found) == ("RSA, with n and e", "OKP")
    with pytest.raises(ParseError):
        _ = claims.vm_unique_id


@pytest.mark.parametrize(
    ("text", "where", "found"),
    [
        ("", "the runtime claims", "0 bytes that are not"),
        ("[]", "the runtime claims", "a JSON array"),
        ("{}", "/keys", "nothing"),
        ('{"keys":1}', "/keys", "a JSON number"),
        ('{"keys":[1]}', "/keys/0", "a JSON number"),
        ('{"keys":[{"kid":"a"}]}', "/keys/0/kty", "nothing"),
        ('{"keys":[{"kid":"a","kty":"RSA","n":"AQ"}]}', "/keys/0/e", "nothing"),
        ('{"keys":[{"kid":"a","kty":"RSA","n":"A","e":"AQAB"}]}', "/keys/0/n", "1 characters"),
        ('{"keys":[{"kid":"a","kty":"RSA","n":"AA","e":"AQAB"}]}', "/keys/0/n", "zero"),
        ('{"keys":[{"kid":"a","kty":"x"},{"kid":"a","kty":"x"}]}', "/keys/1/kid", "a twice"),
        ('{"keys":[{"kid":"a","kty":"x","key_ops":"sign"}]}', "/keys/0/key_ops", "a JSON string"),
        ('{"keys":[],"vm-configuration":[]}', "/vm-configuration", "a JSON array"),
        ('{"keys":[],"user-data":"0g"}', "/user-data", "2 characters"),
        ('{"keys":[],"user-data":"00 00"}', "/user-data", "5 characters"),
        ('{"keys":[],"keys":[]}', "the runtime claims", "member 'keys' twice"),
    ],
)
def test_refusals(text: str, where: str, found: str) -> None:
    with pytest.raises(ParseError) as caught:
        parse_runtime_claims(text.encode())
    assert caught.value.where == where
    assert caught.value.found.startswith(found)


def test_oversized() -> None:
    with pytest.raises(ParseError) as caught:
        parse_runtime_claims(b'{"keys":[]}' + b" " * 4096)
    assert "above the limit of 4096" in caught.value.found


LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=8)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["kid", "kty", "n", "e"]), inner),
    max_leaves=8,
)

KEYS = st.fixed_dictionaries({"kid": LEAVES, "kty": st.just("RSA"), "n": LEAVES, "e": st.just("AQAB")})


@given(
    st.dictionaries(st.sampled_from(["keys", "vm-configuration", "user-data", "x"]), VALUES)
    | st.fixed_dictionaries({"keys": st.lists(KEYS)})
)
@settings(max_examples=100, deadline=None)
def test_any_json_ends_in_claims_or_a_parse_error(document: object) -> None:
    data = json.dumps(document).encode()
    error = attempt(lambda: parse_runtime_claims(data))
    assert is_worded(error)
    if error is None:
        assert parse_runtime_claims(data).fields() == document


@given(st.binary(max_size=200))
@settings(max_examples=50, deadline=None)
def test_any_bytes(data: bytes) -> None:
    assert is_worded(attempt(lambda: parse_runtime_claims(data)))
