"""Each fault of the release response: the client refuses what the vault sent, by its step; off, it works again."""

from __future__ import annotations

import base64
import json
from typing import Any

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from skrkit.errors import VerificationError
from skrkit.sandbox.endpoint import Endpoint
from skrkit.sandbox.faults.client import switch_off, switch_on
from skrkit.sandbox.faults.table import faults_of
from tests.sandbox.faults.faulted import claims_of, cloud_of, raw_release, release

HOST = "skrkit-vault.vault.azure.net"

# Fault: (step, what, where, part of expected, part of found)
LOOKS: dict[str, tuple[str, str, str, str, str]] = {
    "response.signature": (
        "release.signature", "signature of the release response", "part 3",
        "RS256 over header and payload by CN=vault.azure.net", "one that does not verify",
    ),
    "response.chain": (
        "release.root", "root of the signer", "header /x5c/2",
        "CN=skrkit sandbox root", "Example Inspecting Proxy root, issued by CN=",
    ),
    "response.host": (
        "release.host", "DNS names of the signer", "header /x5c/0", HOST, "vault.contoso.example",
    ),
    "response.nonce": (
        "release.nonce", "release nonce", "/request/nonce", "'", "'the nonce of another request'",
    ),
    "response.other-key": (
        "release.kid", "released key", "/response/key/key/kid",
        f"a version of https://{HOST}/keys/release-me", f"'https://{HOST}/keys/another-key/",
    ),
    "response.key-substituted": (
        "release.public_key", "public half of the released key", "/n", "…, the key bundle's", "…",
    ),
    "response.transfer-key": (
        "release.kek", "AES key of key_hsm", "/ciphertext, the first part",
        "a ciphertext for the ephemeral key of this vTPM",
        "one that the vTPM does not decrypt: TPM2_RSA_Decrypt answers TPM_RC_FAILURE",
    ),
    "response.enc": (
        "release.enc", "enc of the release", "/request/enc", "RSA_AES_KEY_WRAP_256", "CKM_RSA_AES_KEY_WRAP",
    ),
    "response.ciphertext": (
        "release.unwrap", "integrity of the wrapped private key", "/ciphertext from byte 256",
        "RFC 5649's check value A65959A6", "others: the ciphertext was changed",
    ),
}  # fmt: skip


def test_every_fault_of_the_response_is_here() -> None:
    assert {fault.name for fault in faults_of("response")} == set(LOOKS)


@pytest.mark.parametrize("name", list(LOOKS))
def test_the_client_refuses_the_response_by_its_step_and_works_again(endpoint: Endpoint, name: str) -> None:
    cloud, (step, what, where, expected, found) = cloud_of(endpoint), LOOKS[name]
    switch_on(name, home=endpoint.home)
    with pytest.raises(VerificationError) as caught:
        release(cloud)
    error = caught.value
    assert (error.step, error.what, error.where) == (step, what, where)
    assert expected in error.expected
    assert found in error.found
    switch_off(name, home=endpoint.home)
    assert release(cloud).proof.message_bytes == 32


# --- the responses themselves, read by PyJWT and by hand


def answered(endpoint: Endpoint, target: str) -> str:
    """The compact JWS of a release."""
    answer = raw_release(endpoint, target)
    assert answer.status == 200, answer.body
    return str(answer.json()["value"])


def leaf_of(signed: str) -> x509.Certificate:
    """The certificate that a response says it is signed by."""
    return chain_of(signed)[0]


def chain_of(signed: str) -> list[x509.Certificate]:
    """The certificates in a response's header."""
    return [x509.load_der_x509_certificate(base64.b64decode(der)) for der in jwt.get_unverified_header(signed)["x5c"]]


def holds(signed: str) -> bool:
    """Whether the key of the response's own certificate signed it, by PyJWT."""
    key = leaf_of(signed).public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    try:
        jwt.decode(signed, key, ["RS256"])
    except jwt.InvalidSignatureError:
        return False
    return True


@pytest.mark.parametrize("name", list(LOOKS))
def test_only_a_broken_signature_is_broken(endpoint: Endpoint, target: str, name: str) -> None:
    switch_on(name, home=endpoint.home)
    assert holds(answered(endpoint, target)) == (name != "response.signature")


def test_the_unknown_authority_is_a_chain_in_itself(endpoint: Endpoint, target: str) -> None:
    right = chain_of(answered(endpoint, target))
    switch_on("response.chain", home=endpoint.home)
    leaf, issuing, root = chain_of(answered(endpoint, target))
    leaf.verify_directly_issued_by(issuing)
    issuing.verify_directly_issued_by(root)
    assert root.public_key() != right[-1].public_key()
    assert f"*.{HOST.partition('.')[2]}" in names_of(leaf)


def test_the_other_host_s_certificate_is_of_the_trusted_authority(endpoint: Endpoint, target: str) -> None:
    right = chain_of(answered(endpoint, target))
    switch_on("response.host", home=endpoint.home)
    chain = chain_of(answered(endpoint, target))
    assert chain[-1] == right[-1]
    assert names_of(chain[0]) == ["vault.contoso.example"]


def names_of(certificate: x509.Certificate) -> list[str]:
    """The DNS names of a certificate."""
    extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return extension.value.get_values_for_type(x509.DNSName)


def test_what_the_payloads_say(endpoint: Endpoint, target: str) -> None:
    def payload(name: str) -> dict[str, Any]:
        switch_on(name, home=endpoint.home)
        found = claims_of(answered(endpoint, target))
        switch_off(name, home=endpoint.home)
        return found

    assert payload("response.nonce")["request"]["nonce"] == "the nonce of another request"
    other = payload("response.enc")
    envelope = json.loads(base64.urlsafe_b64decode(other["response"]["key"]["key"]["key_hsm"] + "=="))
    assert other["request"]["enc"] == envelope["header"]["enc"] == "CKM_RSA_AES_KEY_WRAP"
    right = claims_of(answered(endpoint, target))["response"]["key"]["key"]
    substituted = payload("response.key-substituted")["response"]["key"]["key"]
    assert (substituted["n"], substituted["kid"]) == (right["n"], right["kid"]), "nothing but the ciphertext tells"
