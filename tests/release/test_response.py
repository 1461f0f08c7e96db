"""verify_release: the captured response, and a table of faults by name with the step that must fail."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from skrkit.encoding import b64url
from skrkit.errors import ParseError, UsageError, VerificationError
from skrkit.release.request import Enc, ReleaseRequest
from skrkit.release.response import ReleaseResponse, VerifiedRelease, parse_release_response, verify_release
from skrkit.wire import Described
from tests.release.authority import (
    NOW,
    chain,
    check,
    header,
    made,
    payload,
    root,
    sign,
)
from tests.token.keys import without

CAPTURE = "maa-token-and-akv-release"
THEN = datetime(2022, 12, 24, tzinfo=UTC)
CAPTURED_HOST = "skr-kvq6srllol2jntw.vault.azure.net"


def captured(captures: Path) -> ReleaseResponse:
    return parse_release_response((captures / CAPTURE / "release-response.json").read_bytes())


def verify_captured(response: ReleaseResponse, **options: Any) -> VerifiedRelease:
    arguments: dict[str, Any] = {
        "roots": [x509.load_der_x509_certificate(response.x5c[-1])],
        "host": CAPTURED_HOST,
        "enc": Enc.CKM_RSA_AES_KEY_WRAP,
        "nonce": None,
        "now": THEN,
        **options,
    }
    return verify_release(response, **arguments)


def test_the_captured_response_verifies_at_its_time(captures: Path) -> None:
    response = captured(captures)
    assert isinstance(response, Described)
    assert (response.kind, response.spans(), len(response.x5c)) == ("release-response", (), 3)
    release = verify_captured(response)
    assert release.root.startswith("CN=DigiCert Global Root G2")
    assert release.signer.startswith("CN=vault.azure.net")
    assert [step.id for step in release.steps] == [
        "release.alg", "release.x5t", "release.x5t_s256", "release.signature", "release.chain", "release.ca",
        "release.validity", "release.root", "release.host", "release.kid", "release.enc", "release.nonce",
    ]  # fmt: skip
    assert [step.id for step in release.not_checked] == ["release.nonce"]
    assert "inferred" in verify_captured(response, nonce="n").not_checked[0].detail
    fields = json.loads(json.dumps(response.fields()))
    assert fields["key"]["key_hsm"]["ciphertext_length"] == 2640
    assert fields["header"]["x5c"][0]["subject"].startswith("CN=vault.azure.net")
    value = json.loads(response.raw)["value"]
    assert parse_release_response(value).payload == response.payload


@pytest.mark.parametrize(
    ("options", "step", "found"),
    [
        ({"now": NOW}, "release.validity", "2022-09-23T16:14:06+00:00 to 2023-09-18T16:14:06+00:00"),
        ({"now": datetime(2023, 12, 1, tzinfo=UTC)}, "release.validity", "2023-09-18"),
        ({"roots": [root()]}, "release.root", "CN=DigiCert Global Root G2"),
        ({"host": "skr-other.vault.azure.net"}, "release.kid", CAPTURED_HOST),
        ({"host": "skr.managedhsm.azure.net"}, "release.host", "vault.azure.net, *.vault.azure.net, *.vaultcore"),
        ({"host": "a.skr.vault.azure.net"}, "release.host", "*.vault.azure.net"),
        ({"enc": Enc.RSA_AES_KEY_WRAP_256}, "release.enc", "CKM_RSA_AES_KEY_WRAP"),
    ],
)
def test_the_captured_response_fails_by_name(captures: Path, options: dict[str, Any], step: str, found: str) -> None:
    with pytest.raises(VerificationError) as caught:
        verify_captured(captured(captures), **options)
    assert caught.value.step == step
    assert found in caught.value.found


def test_the_captured_chain_needs_only_the_root_outside(captures: Path) -> None:
    response = captured(captures)
    other = x509.load_der_x509_certificate(response.x5c[1])
    assert verify_captured(response, roots=[root(), *verify_roots(response)]).root.startswith("CN=DigiCert")
    with pytest.raises(VerificationError) as caught:  # the issuing CA is no root of this chain's last certificate
        verify_captured(response, roots=[other])
    assert caught.value.step == "release.root"


def verify_roots(response: ReleaseResponse) -> list[x509.Certificate]:
    return [x509.load_der_x509_certificate(response.x5c[-1])]


@pytest.mark.parametrize("part", [0, 1, 2])
def test_a_flipped_byte_of_the_captured_response(captures: Path, part: int) -> None:
    edits: list[Callable[[bytes], bytes]] = [
        lambda data: data.replace(b'"typ":"JWT"', b'"typ":"JWS"'),
        lambda data: data.replace(b'"api-version":"7.3"', b'"api-version":"7.4"'),
        lambda data: bytes([data[0] ^ 1]) + data[1:],
    ]
    parts = json.loads(captured(captures).raw)["value"].split(".")
    before = base64.urlsafe_b64decode(parts[part] + "==")
    assert edits[part](before) != before
    parts[part] = b64url(edits[part](before))
    with pytest.raises(VerificationError) as caught:
        verify_captured(parse_release_response(".".join(parts)))
    assert (caught.value.step, caught.value.where) == ("release.signature", "part 3")


def edited(edit: Callable[[dict[str, Any]], Any]) -> bytes:
    body = payload()
    edit(body)
    return sign(header(chain()), body)


REFUSED: list[tuple[str, Callable[[], bytes], str, str, str]] = [
    ("no value", lambda: b"{}", "/value", "a string", "nothing"),
    ("value a number", lambda: b'{"value":1}', "/value", "a string", "a JSON number"),
    ("two parts", lambda: b'{"value":"e30.e30"}', "the whole text", "three parts", "2 parts"),
    ("no x5c", lambda: sign(without(header(chain()), "x5c"), payload()), "/x5c", "an array", "nothing"),
    ("empty x5c", lambda: made(head={"x5c": []}), "header /x5c", "1 to 8 certificates", "0"),
    ("many x5c", lambda: made(head={"x5c": ["AAAA"] * 9}), "header /x5c", "1 to 8 certificates", "9"),
    ("x5c number", lambda: made(head={"x5c": [1]}), "header /x5c/0", "base64 of a certificate", "a JSON number"),
    ("no request", lambda: edited(lambda body: body.pop("request")), "/request", "an object", "nothing"),
    ("no enc", lambda: edited(lambda body: body["request"].pop("enc")), "/request/enc", "a string", "nothing"),
    ("enc", lambda: edited(lambda body: body["request"].update(enc="x")), "/request/enc", "CKM_RSA_AES", "'x'"),
    ("nonce", lambda: made(nonce=1), "/request/nonce", "a string", "a JSON number"),
    ("no key", lambda: edited(lambda body: body["response"]["key"].pop("key")), "/response/key/key", "an", "nothing"),
    ("no key_hsm", lambda: edited(lambda body: body["response"]["key"]["key"].pop("key_hsm")),
     "/response/key/key/key_hsm", "a string", "nothing"),
    ("no attributes", lambda: edited(lambda body: body["response"]["key"].pop("attributes")),
     "/response/key/attributes", "an object", "nothing"),
    ("large", lambda: b'{"value":"' + b"a" * (1 << 18) + b'"}', "the whole body", "one JSON document", "the limit"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "where", "expected", "found"), [pytest.param(*row, id=name) for name, *row in REFUSED]
)
def test_a_body_that_is_no_response(body: Callable[[], bytes], where: str, expected: str, found: str) -> None:
    with pytest.raises(ParseError) as caught:
        parse_release_response(body())
    assert caught.value.where == where
    assert expected in caught.value.expected
    assert found in caught.value.found


@settings(max_examples=80, deadline=None)
@given(st.binary(max_size=60) | st.text(max_size=60))
def test_anything_else_is_a_parse_error(data: bytes | str) -> None:
    with pytest.raises(ParseError):
        parse_release_response(data)


@settings(max_examples=60, deadline=None)
@given(place=st.integers(min_value=0), bit=st.integers(0, 7), cut=st.booleans())
def test_a_damaged_response_fails_by_one_of_the_six(place: int, bit: int, cut: bool) -> None:
    data = bytearray(GOOD)
    if cut:
        del data[place % len(data) :]
    else:
        data[place % len(data)] ^= 1 << bit
    with pytest.raises((ParseError, VerificationError)):
        check(bytes(data))


GOOD = json.loads(made())["value"].encode()


def test_the_request_hides_its_token() -> None:
    request = ReleaseRequest(target="eyJ.secret.x", nonce="n", enc=Enc.RSA_AES_KEY_WRAP_384)
    assert request.body() == {"target": "eyJ.secret.x", "nonce": "n", "enc": "RSA_AES_KEY_WRAP_384"}
    assert "secret" not in repr(request)
    assert "nonce" not in ReleaseRequest(target="t").body()
    for target, nonce in (("", None), ("t", "")):
        with pytest.raises(UsageError) as caught:
            ReleaseRequest(target=target, nonce=nonce)
        assert caught.value.found == "empty text"
