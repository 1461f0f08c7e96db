"""verify_token: the captured token, and a table of faults by name with the step that must fail."""

from __future__ import annotations

import base64
import copy
import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from skrkit.encoding import b64url
from skrkit.errors import UsageError, VerificationError
from skrkit.policy.evaluate import evaluate
from skrkit.policy.templates import cvm_policy
from skrkit.token.decode import decode_jwt
from skrkit.token.jwks import Jwks, parse_jwks
from skrkit.token.verify import VerifiedToken, verify_by_issuer, verify_token
from tests.token.keys import ISSUER, KID, NOW, claims, header, jwk, jwks, rsa_key, sign, signing_input, without

CAPTURE = "maa-token-and-akv-release"
CAPTURED_ISSUER = "https://sharedweu.weu.attest.azure.net"
IAT = 1671836418
ISSUED = datetime.fromtimestamp(IAT, UTC)


def captured(captures: Path) -> tuple[bytes, Jwks]:
    folder = captures / CAPTURE
    return (folder / "maa-token.jwt").read_bytes(), parse_jwks((folder / "maa-jwks.json").read_bytes())


def verify_captured(captures: Path, now: datetime, **options: Any) -> VerifiedToken:
    text, keys = captured(captures)
    arguments: dict[str, Any] = {"jwks": keys, "issuer": CAPTURED_ISSUER, "now": now, **options}
    return verify_token(decode_jwt(text), **arguments)


def test_the_captured_token_verifies_at_its_time(captures: Path) -> None:
    token = verify_captured(captures, ISSUED + timedelta(minutes=1), leeway_s=0)
    assert token.claims["iat"] == IAT
    assert token.expires == datetime.fromtimestamp(1671865218, UTC)
    assert token.key_id == "dRKh+hBcWUfQimSl3Iv6ZhStW3TSOt0ThwiTgUUqZAo="
    assert token.issuer == CAPTURED_ISSUER
    assert evaluate(cvm_policy(CAPTURED_ISSUER), token).holds
    assert token.raw not in repr(token).encode()
    assert verify_captured(captures, ISSUED, issuer=f"{CAPTURED_ISSUER}/").issuer == CAPTURED_ISSUER


def test_the_captured_token_names_its_authority_to_who_knows_it(captures: Path) -> None:
    text, keys = captured(captures)
    asked = []

    def keys_of(issuer: str) -> Jwks:
        asked.append(issuer)
        return keys

    token = verify_by_issuer(text, keys_of=keys_of, now=ISSUED)
    assert asked == [CAPTURED_ISSUER]
    assert (token.issuer, token.claims["iat"]) == (CAPTURED_ISSUER, IAT)
    with pytest.raises(VerificationError) as caught:
        verify_by_issuer(text, keys_of=keys_of, now=NOW)
    assert caught.value.step == "token.times"
    changed = text[:-40] + (b"A" if text[-40:-39] != b"A" else b"B") + text[-39:]
    with pytest.raises(VerificationError) as caught:
        verify_by_issuer(changed, keys_of=keys_of, now=ISSUED)
    assert caught.value.step == "token.signature"


def test_an_authority_that_the_caller_does_not_know_verifies_nothing() -> None:
    def nobody(issuer: str) -> Jwks:
        raise LookupError(issuer)

    key = rsa_key("one")
    text = sign(header(), claims(), key)
    with pytest.raises(LookupError, match=ISSUER):
        verify_by_issuer(text, keys_of=nobody, now=NOW)
    for odd in ({"iss": None}, {"iss": 1}, {"iss": [ISSUER]}):
        with pytest.raises(VerificationError) as caught:
            verify_by_issuer(sign(header(), claims(**odd), key), keys_of=nobody, now=NOW)
        assert (caught.value.step, caught.value.expected) == ("token.issuer", "a string")


def test_the_captured_token_is_expired_today(captures: Path) -> None:
    with pytest.raises(VerificationError) as caught:
        verify_captured(captures, NOW)
    error = caught.value
    assert (error.step, error.what, error.where) == ("token.times", "token exp", "claims /exp")
    assert NOW.isoformat() in error.expected
    assert error.found == "2022-12-24T07:00:18+00:00, expired"


@pytest.mark.parametrize(
    ("seconds", "leeway", "passes"),
    [(-301, 300, False), (-300, 300, True), (-1, 0, False), (0, 0, True), (28799, 0, True), (28800, 0, False),
     (29099, 300, True), (29100, 300, False)],
)  # fmt: skip
def test_the_edges_of_the_captured_tokens_life(captures: Path, seconds: int, leeway: int, passes: bool) -> None:
    now = ISSUED + timedelta(seconds=seconds)
    if passes:
        assert verify_captured(captures, now, leeway_s=leeway).verified_at == now
        return
    with pytest.raises(VerificationError) as caught:
        verify_captured(captures, now, leeway_s=leeway)
    assert caught.value.step == "token.times"


@pytest.mark.parametrize("part", [0, 1, 2])
def test_a_changed_part_of_the_captured_token_does_not_verify(captures: Path, part: int) -> None:
    text, keys = captured(captures)
    parts = text.split(b".")
    edits = {
        0: lambda data: data.replace(b'"typ":"JWT"', b'"typ":"JWS"'),
        1: lambda data: data.replace(b'"x-ms-sevsnpvm-is-debuggable":false', b'"x-ms-sevsnpvm-is-debuggable":true '),
        2: lambda data: bytes([data[0] ^ 1]) + data[1:],
    }
    before = base64.urlsafe_b64decode(parts[part] + b"==")
    after = edits[part](before)
    assert after != before
    parts[part] = b64url(after).encode()
    with pytest.raises(VerificationError) as caught:
        verify_token(decode_jwt(b".".join(parts)), jwks=keys, issuer=CAPTURED_ISSUER, now=ISSUED)
    assert (caught.value.step, caught.value.where) == ("token.signature", "part 3")


def make(head: dict[str, Any] | None = None, body: dict[str, Any] | None = None, key: str = "maa") -> bytes:
    return sign(head or header(), body or claims(), rsa_key(key))


def check(text: bytes, keys: bytes | None = None, **options: Any) -> VerifiedToken:
    published = parse_jwks(keys or jwks(jwk(rsa_key("other"), "other"), jwk(rsa_key("maa"))))
    arguments: dict[str, Any] = {"jwks": published, "issuer": ISSUER, "now": NOW, **options}
    return verify_token(decode_jwt(text), **arguments)


def hs256_with_the_public_key() -> bytes:
    secret = rsa_key("maa").public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    signed = signing_input(header(alg="HS256"), claims())
    return signed + b"." + b64url(hmac.digest(secret, signed, hashlib.sha256)).encode()


def unsigned(alg: str) -> bytes:
    return signing_input(header(alg=alg), claims()) + b"."


ISSUED_S = int(NOW.timestamp())
Fault = tuple[Callable[[], bytes], bytes | None, str, str, str, str]


def fault(make_text: Callable[[], bytes], step: str, where: str, expected: str, found: str, keys: Any = None) -> Fault:
    return make_text, keys, step, where, expected, found


FAULTS: dict[str, Fault] = {
    "none": fault(lambda: unsigned("none"), "token.alg", "header /alg", "RS256", "'none'"),
    "None": fault(lambda: unsigned("None"), "token.alg", "header /alg", "RS256", "'None'"),
    "HS256 with the public key": fault(hs256_with_the_public_key, "token.alg", "header /alg", "RS256", "'HS256'"),
    "PS256 unasked": fault(lambda: make(header(alg="PS256")), "token.alg", "header /alg", "RS256", "'PS256'"),
    "no alg": fault(lambda: make(without(header(), "alg")), "token.alg", "header /alg", "RS256", "nothing"),
    "alg a list": fault(lambda: make(header(alg=["RS256"])), "token.alg", "header /alg", "RS256", "a JSON array"),
    "crit": fault(lambda: make(header(crit=["exp"])), "token.header", "header /crit", "nothing", "the member"),
    "embedded jwk": fault(
        lambda: make(header(jwk=jwk(rsa_key("own"))), key="own"), "token.header", "header /jwk", "nothing", "the member"
    ),
    "embedded x5c": fault(lambda: make(header(x5c=[])), "token.header", "header /x5c", "nothing", "the member"),
    "another tenant": fault(
        lambda: make(header(jku="https://attest-b.example/certs"), claims(iss="https://attest-b.example")),
        "token.issuer", "claims /iss", f"'{ISSUER}'", "'https://attest-b.example'",
    ),
    "two slashes": fault(lambda: make(body=claims(iss=f"{ISSUER}//")), "token.issuer", "claims /iss", ISSUER, "//'"),
    "issuer in capitals": fault(
        lambda: make(body=claims(iss=ISSUER.upper())), "token.issuer", "claims /iss", ISSUER, "EXAMPLE"
    ),
    "no issuer": fault(lambda: make(body=without(claims(), "iss")), "token.issuer", "claims /iss", ISSUER, "nothing"),
    "jku swap": fault(
        lambda: make(header(jku="https://evil.example/certs")),
        "token.jku", "header /jku", f"'{ISSUER}/certs'", "'https://evil.example/certs'",
    ),
    "jku below": fault(
        lambda: make(header(jku=f"{ISSUER}/certs/x")), "token.jku", "header /jku", f"'{ISSUER}/certs'", "/certs/x'"
    ),
    "jku null": fault(lambda: make(header(jku=None)), "token.jku", "header /jku", "/certs'", "a JSON null"),
    "kid unknown": fault(lambda: make(header(kid="zzz")), "token.kid", "header /kid", f"other, {KID}", "'zzz'"),
    "no kid": fault(lambda: make(without(header(), "kid")), "token.kid", "header /kid", KID, "nothing"),
    "kid twice": fault(
        make, "token.kid", "header /kid", KID, "names 2 different keys", jwks(jwk(rsa_key("maa")), jwk(rsa_key("own")))
    ),
    "kty EC": fault(make, "token.key", f"JWK {KID}", "an RSA key", "kty EC", jwks({"kid": KID, "kty": "EC"})),
    "small key": fault(
        lambda: sign(header(), claims(), rsa_key("small", 1024)),
        "token.key", f"JWK {KID}", "2048 bits or more", "1024 bits", jwks(jwk(rsa_key("small", 1024))),
    ),
    "use enc": fault(make, "token.key", f"JWK {KID}", "use sig", "use enc", jwks(jwk(rsa_key("maa"), use="enc"))),
    "key for PS256": fault(
        make, "token.key", f"JWK {KID}", "alg RS256", "alg PS256", jwks(jwk(rsa_key("maa"), alg="PS256"))
    ),
    "another key": fault(
        lambda: make(key="own"), "token.signature", "part 3", f"header and payload by key {KID}", "does not verify"
    ),
    "no signature": fault(
        lambda: make().rpartition(b".")[0] + b".", "token.signature", "part 3", "RS256 over", "does not verify"
    ),
    "expired": fault(
        lambda: make(body=claims(iat=ISSUED_S - 28800, nbf=ISSUED_S - 28800, exp=ISSUED_S - 300)),
        "token.times", "claims /exp", f"after {NOW.isoformat()}", "2026-11-24T11:55:00+00:00, expired",
    ),
    "nbf in the future": fault(
        lambda: make(body=claims(nbf=ISSUED_S + 301)),
        "token.times", "claims /nbf", f"{NOW.isoformat()} or before", "2026-11-24T12:05:01+00:00",
    ),
    "iat in the future": fault(
        lambda: make(body=claims(iat=ISSUED_S + 301)),
        "token.times", "claims /iat", f"{NOW.isoformat()} or before", "2026-11-24T12:05:01+00:00",
    ),
    "no exp": fault(lambda: make(body=without(claims(), "exp")), "token.times", "claims /exp", "seconds", "nothing"),
    "no nbf": fault(lambda: make(body=without(claims(), "nbf")), "token.times", "claims /nbf", "seconds", "nothing"),
    "exp as text": fault(lambda: make(body=claims(exp="9")), "token.times", "claims /exp", "whole seconds", "'9'"),
    "exp true": fault(lambda: make(body=claims(exp=True)), "token.times", "claims /exp", "whole seconds", "True"),
    "exp far away": fault(lambda: make(body=claims(exp=1 << 80)), "token.times", "claims /exp", "seconds", "12089258"),
    "lives a day": fault(
        lambda: make(body=claims(exp=ISSUED_S + 86400)), "token.lifetime", "claims /exp", "0 to 28800 s", "86400 s"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_fails_at_its_own_step_and_says_what_is_true(name: str) -> None:
    make_text, keys, step, where, expected, found = FAULTS[name]
    with pytest.raises(VerificationError) as caught:
        check(make_text(), keys)
    error = caught.value
    assert (error.step, error.where) == (step, where)
    assert expected in error.expected
    assert found in error.found
    assert error.fix
    assert error.to_json()["step"] == step


def test_what_is_no_fault() -> None:
    assert check(make()).claims["c"] == "v"
    assert check(make(without(header(), "jku"))).key_id == KID
    assert check(make(body=claims(iss=f"{ISSUER}/"))).issuer == ISSUER
    assert check(make(), jwks(jwk(rsa_key("maa")), jwk(rsa_key("maa")))).key_id == KID
    day = claims(exp=ISSUED_S + 86400)
    assert check(make(body=day), max_lifetime_s=None).expires == NOW + timedelta(days=1)
    plain = jwks(without(jwk(rsa_key("maa")), "alg", "use"))
    assert check(make(header(alg="PS256")), plain, algorithms=("RS256", "PS256")).header["alg"] == "PS256"


def test_claims_come_from_the_bytes_that_were_signed() -> None:
    token = decode_jwt(make())
    token.claims["c"] = "changed after decoding"
    published = parse_jwks(jwks(jwk(rsa_key("maa"))))
    assert verify_token(token, jwks=published, issuer=ISSUER, now=NOW).claims["c"] == "v"


MISUSED: list[tuple[dict[str, Any], str]] = [
    ({"now": datetime(2026, 11, 24)}, "argument now"),  # noqa: DTZ001  # naive on purpose
    ({"leeway_s": 301}, "argument leeway_s"),
    ({"leeway_s": -1}, "argument leeway_s"),
    ({"algorithms": ("HS256",)}, "argument algorithms"),
    ({"algorithms": ("none", "RS256")}, "argument algorithms"),
    ({"algorithms": ()}, "argument algorithms"),
    ({"algorithms": "RS256"}, "argument algorithms"),
    ({"issuer": "http://attest-a.example"}, "argument issuer"),
    ({"issuer": "https:///"}, "argument issuer"),
    ({"issuer": ""}, "argument issuer"),
    ({"max_lifetime_s": 0}, "argument max_lifetime_s"),
]


@pytest.mark.parametrize(("options", "where"), MISUSED)
def test_a_careless_caller_is_told(options: dict[str, Any], where: str) -> None:
    with pytest.raises(UsageError) as caught:
        check(make(), **options)
    assert caught.value.where == where


def test_nobody_else_makes_a_verified_token() -> None:
    token = check(make())
    with pytest.raises(UsageError) as caught:
        VerifiedToken(
            header={}, claims={}, issuer=ISSUER, key_id=KID, verified_at=NOW, expires=NOW, raw=b"", proof=object()
        )
    assert caught.value.expected == "to be called by verify_token alone"
    with pytest.raises((UsageError, ValueError, TypeError)):
        replace(token, issuer="https://evil.example")  # type: ignore[call-arg]  # the proof is what it lacks
    assert copy.copy(token) == token


def test_fields_show_claims_and_never_the_token() -> None:
    token = check(make())
    shown = json.dumps(token.fields())
    assert '"c": "v"' in shown
    assert token.raw.decode() not in shown
    assert token.raw.decode().rpartition(".")[2] not in shown
