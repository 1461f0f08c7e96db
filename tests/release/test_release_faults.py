"""verify_release: a table of faults by name, each with the step that must fail and what must be said."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from cryptography import x509

from skrkit.errors import UsageError, VerificationError
from skrkit.release.request import Enc
from skrkit.release.response import VerifiedRelease, parse_release_response, verify_release
from tests.release.authority import (
    HOST,
    KID,
    LEAF_NAMES,
    NOW,
    VERSION,
    certificate,
    chain,
    check,
    header,
    made,
    payload,
    root,
    sign,
)
from tests.release.wrapping import wrapped
from tests.token.keys import without


def unsigned(alg: str) -> bytes:
    value = json.loads(made(head={"alg": alg}))["value"]
    return json.dumps({"value": value.rpartition(".")[0] + "."}).encode()


ANOTHER_LEAF = certificate("leaf", "issuing", key="own", dns=LEAF_NAMES)


def with_leaf(**options: Any) -> bytes:
    return made(chain(leaf_=certificate("leaf", "issuing", **{"dns": LEAF_NAMES, **options})))


def with_issuing(**options: Any) -> bytes:
    return made(chain(issuing_=certificate("issuing", "root", **{"ca": True, **options})))


def garbage() -> bytes:
    return made(head={"x5c": ["AAAA"]})


def other_key_hsm() -> bytes:
    return made(key_hsm=wrapped(enc="CKM_RSA_AES_KEY_WRAP"))


FAULTS: dict[str, tuple[Callable[[], bytes], str, str, str, str]] = {
    "none": (lambda: unsigned("none"), "release.alg", "header /alg", "RS256", "'none'"),
    "PS256": (lambda: made(head={"alg": "PS256"}), "release.alg", "header /alg", "RS256", "'PS256'"),
    "HS256": (lambda: made(head={"alg": "HS256"}), "release.alg", "header /alg", "RS256", "'HS256'"),
    "no alg": (
        lambda: sign(without(header(chain()), "alg"), payload()), "release.alg", "header /alg", "RS256", "nothing"
    ),
    "jwk": (lambda: made(head={"jwk": {}}), "release.header", "header /jwk", "nothing", "the member"),
    "no certificate": (garbage, "release.x5c", "header /x5c/0", "a DER certificate", "3 bytes that are none"),
    "x5c swap": (
        lambda: made(head={"x5c": header([ANOTHER_LEAF, *chain()[1:]])["x5c"]}, key="own"),
        "release.x5t", "header /x5t", header([ANOTHER_LEAF])["x5t"], header(chain())["x5t"],
    ),
    "x5t swap": (lambda: made(head={"x5t": "AAAA"}), "release.x5t", "header /x5t", "'", "'AAAA'"),
    "x5t#S256 swap": (
        lambda: made(head={"x5t#S256": 1}), "release.x5t_s256", "header /x5t#S256", "'", "1"
    ),
    "another key": (lambda: made(key="own"), "release.signature", "part 3", "RS256 over", "does not verify"),
    "small key": (
        lambda: made(chain(leaf_=small_leaf()), key="small", bits=1024),
        "release.signature", "header /x5c/0", "2048", "1024 bits",
    ),
    "issuer's name": (
        lambda: made(chain(leaf_=certificate("leaf", "elsewhere", signer="issuing", dns=LEAF_NAMES))),
        "release.chain", "header /x5c/0", "CN=issuing", "issued by CN=elsewhere",
    ),
    "issuer's signature": (
        lambda: with_leaf(signer="own"), "release.chain", "header /x5c/0", "CN=issuing", "issued by CN=issuing"
    ),
    "an order of its own": (
        lambda: made([chain()[0], chain()[2], chain()[1]]), "release.chain", "header /x5c/0", "CN=root", "CN=leaf"
    ),
    "leaf as issuer": (
        lambda: made([certificate("leaf", "middle", dns=LEAF_NAMES), certificate("middle", "issuing"), *chain()[1:]]),
        "release.ca", "header /x5c/1", "a CA with keyCertSign", "no basicConstraints",
    ),
    "CA false": (lambda: with_issuing(ca=False), "release.ca", "header /x5c/1", "a CA", "CA false"),
    "no keyCertSign": (
        lambda: with_issuing(sign_certificates=False), "release.ca", "header /x5c/1", "keyCertSign", "without"
    ),
    "path length": (
        lambda: made(
            [certificate("leaf", "middle", dns=LEAF_NAMES), certificate("middle", "issuing", ca=True), *chain()[1:]]
        ),
        "release.ca", "header /x5c/2", "a CA", "path length 0, with 1 CAs below",
    ),
    "critical": (
        lambda: with_leaf(critical=True), "release.critical", "header /x5c/0", "basicConstraints", "it, critical"
    ),
    "leaf expired": (
        lambda: with_leaf(days=(-3, -1)), "release.validity", "header /x5c/0", NOW.isoformat(), "2026-11-23T12:00:00"
    ),
    "issuer not yet": (
        lambda: with_issuing(days=(1, 2)), "release.validity", "header /x5c/1", NOW.isoformat(), "2026-11-25T12:00:00"
    ),
    "another root": (
        lambda: made(
            [leaf_of_another(), certificate("evil", "evil", ca=True)], key="leaf"
        ),
        "release.root", "header /x5c/1", "CN=root", "CN=evil",
    ),
    "root's name alone": (
        lambda: made([leaf_of("root", "evil"), certificate("root", "root", key="evil", signer="evil", ca=True)]),
        "release.root", "header /x5c/1", "CN=root", "CN=root, issued by CN=root",
    ),
    "another host": (
        lambda: with_leaf(dns=("other.vault.azure.net", "*.myvault.vault.azure.net", "*.azure.net")),
        "release.host", "header /x5c/0", HOST, "other.vault.azure.net, *.myvault.vault.azure.net, *.azure.net",
    ),
    "no DNS name": (lambda: with_leaf(dns=()), "release.host", "header /x5c/0", HOST, "no DNS name"),
    "another vault's key": (
        lambda: made(released=f"https://other.vault.azure.net/keys/k/{VERSION}"),
        "release.kid", "/response/key/key/kid", f"https://{HOST}/keys/…", "https://other.vault.azure.net",
    ),
    "another key's name": (
        lambda: made(released=f"https://{HOST}/keys/x/{VERSION}"),
        "release.kid", "/response/key/key/kid", f"a version of {KID}", f"/keys/x/{VERSION}",
    ),
    "another version": (
        lambda: made(kid=f"{KID}/{'1' * 32}"), "release.kid", "/response/key/key/kid", f"{KID}/1", f"/k/{VERSION}"
    ),
    "more than a version": (
        lambda: made(released=f"{KID}/{VERSION}/release"),
        "release.kid", "/response/key/key/kid", f"a version of {KID}", f"{VERSION}/release",
    ),
    "no version": (lambda: made(released=KID), "release.kid", "/response/key/key/kid", "a version of", KID),
    "host as a prefix": (
        lambda: made(kid=f"https://{HOST}.evil.example/keys/k"),
        "release.kid", "/request/kid", f"https://{HOST}/keys/…", ".evil.example",
    ),
    "enc": (
        lambda: made(enc="CKM_RSA_AES_KEY_WRAP"),
        "release.enc", "/request/enc", "RSA_AES_KEY_WRAP_256", "CKM_RSA_AES_KEY_WRAP",
    ),
    "enc inside": (
        other_key_hsm, "release.enc", "key_hsm /header/enc", "RSA_AES_KEY_WRAP_256", "CKM_RSA_AES_KEY_WRAP"
    ),
    "nonce": (lambda: made(nonce="m"), "release.nonce", "/request/nonce", "'n'", "'m'"),
    "nonce empty": (lambda: made(nonce=""), "release.nonce", "/request/nonce", "'n'", "''"),
}  # fmt: skip


def small_leaf() -> x509.Certificate:
    return certificate("leaf", "issuing", key="small", bits=1024, dns=LEAF_NAMES)


def leaf_of_another() -> x509.Certificate:
    return leaf_of("evil", "evil")


def leaf_of(issuer: str, signer: str) -> x509.Certificate:
    return certificate("leaf", issuer, signer=signer, dns=LEAF_NAMES)


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_fails_at_its_own_step_and_says_what_is_true(name: str) -> None:
    body, step, where, expected, found = FAULTS[name]
    with pytest.raises(VerificationError) as caught:
        check(body())
    error = caught.value
    assert (error.step, error.where) == (step, where)
    assert expected in error.expected
    assert found in error.found
    assert error.fix


def test_what_is_no_fault() -> None:
    release = check(made())
    assert release.not_checked == ()
    assert release.key["kty"] == "RSA-HSM"
    assert release.key_hsm.enc is Enc.RSA_AES_KEY_WRAP_256
    assert check(made(chain()[:2])).root == "CN=root"  # a chain that leaves the root out
    assert check(made(kid=f"{KID}/{VERSION}")).steps
    assert check(made(), host=HOST.upper()).steps
    cross_signed = certificate("root", "older", ca=True)  # another certificate of the root's own key
    assert check(made([*chain()[:2], cross_signed])).root == "CN=root"
    absent = [step.id for step in check(sign(without(header(chain()), "x5t"), payload())).not_checked]
    assert absent == ["release.x5t", "release.nonce"]


def test_an_expired_root_outside_the_chain_is_refused() -> None:
    old = certificate("root", "root", ca=True, days=(-9, -8))
    with pytest.raises(VerificationError) as caught:
        check(made(chain()[:2]), roots=[old])
    assert (caught.value.step, caught.value.where) == ("release.validity", "argument roots")


def test_a_nonce_that_nobody_sent_is_refused() -> None:
    with pytest.raises(VerificationError) as caught:
        check(made(), nonce=None)
    assert (caught.value.step, caught.value.expected) == ("release.nonce", "nothing, for none was sent")


def test_the_bytes_are_verified_and_not_the_model() -> None:
    response = parse_release_response(made())
    response.key["kty"] = "changed after parsing"
    release = verify_release(response, roots=[root()], host=HOST, enc=Enc.RSA_AES_KEY_WRAP_256, nonce="n", now=NOW)
    assert release.key["kty"] == "RSA-HSM"


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({"roots": []}, "argument roots"),
        ({"now": datetime(2026, 11, 24)}, "argument now"),  # noqa: DTZ001  # naive on purpose
        ({"host": f"https://{HOST}"}, "argument host"),
        ({"host": "*.vault.azure.net"}, "argument host"),
        ({"host": ""}, "argument host"),
    ],
)
def test_a_careless_caller_is_told(options: dict[str, Any], where: str) -> None:
    with pytest.raises(UsageError) as caught:
        check(made(), **options)
    assert caught.value.where == where


def test_nobody_else_makes_a_verified_release() -> None:
    response = parse_release_response(made())
    with pytest.raises(UsageError):
        VerifiedRelease(response=response, steps=(), signer="", root="", verified_at=NOW, proof=object())
    with pytest.raises((UsageError, ValueError, TypeError)):
        replace(check(made()), root="CN=evil")  # type: ignore[call-arg]  # the proof is what it lacks
