"""Uploaded policy tokens, signed by PyJWT and by hand: what is taken, and what is refused with 400."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import example, given
from hypothesis import strategies as st

from skrkit.sandbox.maa.jws import open_jws
from skrkit.sandbox.web import AzureError

RSA_KEY = rsa.generate_private_key(65537, 2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
CLAIMS = {"AttestationPolicy": "dmVyc2lvbj0"}


def certificate(key: Any, name: str, *, issuer: Any = None, issuer_key: Any = None, authority: bool = True) -> Any:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime(2026, 1, 1, tzinfo=UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=365))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .sign(issuer_key or key, hashes.SHA256())
    )


def entry(made: x509.Certificate) -> str:
    return base64.b64encode(made.public_bytes(Encoding.DER)).decode()


RSA_ROOT, EC_ROOT = certificate(RSA_KEY, "rsa"), certificate(EC_KEY, "ec")
LEAF = certificate(EC_KEY, "leaf", issuer=RSA_ROOT, issuer_key=RSA_KEY, authority=False)


def b64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def by_hand(header: Any, payload: Any = CLAIMS, signature: bytes = b"") -> str:
    return f"{b64url(json.dumps(header).encode())}.{b64url(json.dumps(payload).encode())}.{b64url(signature)}"


@pytest.mark.parametrize("algorithm", ["RS256", "RS512", "PS256", "PS384"])
def test_rsa(algorithm: str) -> None:
    opened = open_jws(jwt.encode(CLAIMS, RSA_KEY, algorithm, headers={"x5c": [entry(RSA_ROOT)]}))
    assert json.loads(opened.payload) == CLAIMS
    assert (opened.certificate, opened.signer) == (
        RSA_ROOT,
        {"alg": "RS256", "kty": "RSA", "use": "sig", "x5c": [entry(RSA_ROOT)]},
    )


def test_a_chain_to_a_root() -> None:
    opened = open_jws(jwt.encode(CLAIMS, EC_KEY, "ES256", headers={"x5c": [entry(LEAF), entry(RSA_ROOT)]}))
    assert (opened.certificate, opened.signer) == (
        LEAF,
        {"kty": "EC", "use": "sig", "x5c": [entry(LEAF), entry(RSA_ROOT)]},
    )


def test_a_bare_key() -> None:
    jwk = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(RSA_KEY))  # with the private half, by mistake
    opened = open_jws(jwt.encode(CLAIMS, RSA_KEY, "RS256", headers={"jwk": jwk}))
    assert opened.certificate is None
    assert opened.signer == {name: jwk[name] for name in ("kty", "n", "e")}


def test_the_form_of_microsofts_python_client() -> None:
    covered = by_hand({"alg": "ECDH256", "jwk": {"x5c": [entry(EC_ROOT)]}}).rpartition(".")[0]
    signature = EC_KEY.sign(covered.encode(), ec.ECDSA(hashes.SHA256()))
    assert open_jws(f"{covered}.{b64url(signature)}").certificate == EC_ROOT


def refusal(text: str) -> str:
    with pytest.raises(AzureError) as caught:
        open_jws(text)
    assert caught.value.status == 400
    return caught.value.code


SIGNED = jwt.encode(CLAIMS, RSA_KEY, "RS256", headers={"x5c": [entry(RSA_ROOT)]})


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (SIGNED[:-8] + "AAAAAAAA", "InvalidParameter"),
        (SIGNED.replace(SIGNED.split(".")[1], b64url(b'{"AttestationPolicy":"eA"}')), "InvalidParameter"),
        (jwt.encode(CLAIMS, EC_KEY, "ES256", headers={"x5c": [entry(RSA_ROOT)]}), "InvalidParameter"),  # other key
        (jwt.encode(CLAIMS, EC_KEY, "ES256", headers={"x5c": [entry(LEAF)]}), "InvalidParameter"),  # no root
        (jwt.encode(CLAIMS, EC_KEY, "ES256", headers={"x5c": [entry(LEAF), entry(EC_ROOT)]}), "InvalidParameter"),
        (jwt.encode(CLAIMS, RSA_KEY, "RS256", headers={"x5c": [entry(RSA_ROOT)] * 11}), "InvalidOperation"),
        (jwt.encode(CLAIMS, RSA_KEY, "RS256", headers={"x5c": ["AAAA"]}), "InvalidOperation"),
        (jwt.encode(CLAIMS, RSA_KEY, "RS256", headers={"x5c": [1]}), "InvalidOperation"),
        (jwt.encode(CLAIMS, RSA_KEY, "RS256"), "InvalidOperation"),  # no key at all
        (jwt.encode(CLAIMS, RSA_KEY, "RS256", headers={"jwk": {"kty": "oct", "k": "AAAA"}}), "InvalidOperation"),
        (jwt.encode(CLAIMS, "a" * 64, "HS256", headers={"jwk": {"kty": "oct", "k": "AAAA"}}), "InvalidParameter"),
        (by_hand({"alg": "RS256", "crit": ["x"], "x5c": [entry(RSA_ROOT)]}), "InvalidParameter"),
        (by_hand({"alg": "ECDH256", "jwk": {"x5c": [entry(RSA_ROOT)]}}, signature=b"x"), "InvalidParameter"),
        (by_hand({"alg": "None"}), "InvalidParameter"),
        (by_hand({"alg": ["none"]}), "InvalidOperation"),
        (by_hand([]), "InvalidOperation"),
    ],
)
def test_what_is_refused(text: str, code: str) -> None:
    assert refusal(text) == code


HEADERS = st.fixed_dictionaries(
    {"alg": st.sampled_from(["none", "RS256", "RSA256", "ES256", "ECDH256", "PS256", "HS256", ""])},
    optional={
        "x5c": st.sampled_from([[entry(RSA_ROOT)], [entry(EC_ROOT)], [], ["AAAA"], {}, "x", [None]]),
        "jwk": st.sampled_from(
            [{}, [], {"kty": "RSA"}, {"kty": "RSA", "n": "AQ", "e": "AQ"}, {"kty": "EC", "crv": "P-256"}, {"x5c": [1]}]
        ),
    },
)


@given(HEADERS, st.binary(max_size=80))
def test_nothing_signed_by_nobody_is_taken(header: dict[str, Any], signature: bytes) -> None:
    """Whatever the header: opened without a signature as unsigned, or refused with 400."""
    try:
        opened = open_jws(by_hand(header, signature=signature))
    except AzureError as error:
        assert error.status == 400  # noqa: PT017 - either way is right
    else:
        assert header["alg"] == "none"
        assert opened.signer is None
        assert signature == b""


@given(st.text(max_size=60))
@example("..")
@example("e30..")
@example("bnVsbA..")
def test_any_text(text: str) -> None:
    try:
        open_jws(text)
    except AzureError as error:
        assert error.status == 400  # noqa: PT017 - either way is right
