"""Each fault of the token: the client refuses it by its step, and the vault, given the token raw, in its own words.

Where a vault cannot know better, since the token is Azure Attestation's and holds, what it wraps is for somebody else.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass
from typing import Any

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from skrkit.errors import ParseError, ServiceError, SkrkitError, VerificationError
from skrkit.sandbox.endpoint import Endpoint
from skrkit.sandbox.faults.client import switch_off, switch_on
from skrkit.sandbox.faults.table import faults_of
from skrkit.services.attester import Attester
from tests.sandbox.faults.faulted import claims_of, cloud_of, raw_release, release
from tests.sandbox.faults.watched import attempt
from tests.sandbox.running import STAGE, send, skrkit

ISSUER = "https://sharedweu.weu.attest.azure.net"
NOT_VERIFIED = "Target environment attestation statement cannot be verified."
NOT_MET = "Target environment attestation does not meet key release policy requirements."
RELEASED = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """How a fault looks to the client, and what the vault says to the same token, "" for a release."""

    step: str = ""
    what: str
    where: str
    expected: str
    found: str
    vault: str = NOT_VERIFIED
    error: type[SkrkitError] = VerificationError


LOOKS: dict[str, Seen] = {
    "token.expired": Seen(
        step="token.times", what="token exp", where="claims /exp", expected="after ", found=", expired"
    ),
    "token.not-yet-valid": Seen(
        step="token.times", what="token nbf", where="claims /nbf", expected=" or before", found="+00:00"
    ),
    "token.jku-swap": Seen(
        step="token.jku",
        what="token jku",
        where="header /jku",
        expected=f"'{ISSUER}/certs'",
        found="'https://keys.attest.example/certs'",
    ),
    "token.algorithm-none": Seen(
        step="token.alg", what="token alg", where="header /alg", expected="RS256", found="'none'"
    ),
    "token.algorithm-confusion": Seen(
        step="token.alg", what="token alg", where="header /alg", expected="RS256", found="'HS256'"
    ),
    "token.other-tenant": Seen(
        step="token.issuer",
        what="token iss",
        where="claims /iss",
        expected=f"'{ISSUER}'",
        found="'https://intruder.weu.attest.azure.net'",
        vault=NOT_MET,
    ),
    "token.other-authority": Seen(
        step="token.issuer",
        what="token iss",
        where="claims /iss",
        expected=f"'{ISSUER}'",
        found="'https://contoso.neu.attest.azure.net'",
        vault=NOT_MET,
    ),
    "token.signing-key-rotated": Seen(
        step="token.kid", what="token kid", where="header /kid", expected="one of the published keys: ", found="='"
    ),
    "token.signature": Seen(
        step="token.signature",
        what="token signature",
        where="part 3",
        expected="RS256 over header and payload by key ",
        found="one that does not verify (InvalidSignatureError)",
    ),
    "token.replayed": Seen(
        step="token.nonce",
        what="token claim",
        where="/x-ms-runtime/client-payload/nonce",
        expected="'",
        found=repr(base64.b64encode(b"an earlier request").decode()),
        vault=RELEASED,
    ),
    "token.other-vm": Seen(
        step="token.transfer_key",
        what="transfer key",
        where="/x-ms-runtime/keys/0/n",
        expected="the modulus of the key certified in this vTPM",
        found="another modulus",
        vault=RELEASED,
    ),
    "token.no-transfer-key": Seen(
        step="token.transfer_key",
        what="token claim",
        where="/x-ms-runtime/keys/0/kid",
        expected="'TpmEphemeralEncryptionKey'",
        found="nothing",
    ),
    "token.truncated": Seen(
        error=ParseError, what="JWT", where="the whole text", expected="three parts with a dot between", found="2 parts"
    ),
    "token.envelope": Seen(
        step="envelope.inner_key",
        what="inner key of the sealed token",
        where="/EncryptedInnerKey",
        expected="a ciphertext for the ephemeral key of this vTPM",
        found="one that the vTPM does not decrypt: TPM2_RSA_Decrypt answers TPM_RC_FAILURE",
    ),
}


def test_every_fault_of_the_token_is_here() -> None:
    assert {fault.name for fault in faults_of("token")} == set(LOOKS)


@pytest.mark.parametrize("name", list(LOOKS))
def test_the_client_refuses_by_its_step_and_works_again(endpoint: Endpoint, name: str) -> None:
    cloud, seen = cloud_of(endpoint), LOOKS[name]
    switch_on(name, home=endpoint.home)
    with pytest.raises(SkrkitError) as caught:
        release(cloud)
    error = caught.value
    assert type(error) is seen.error
    assert (error.what, error.where, getattr(error, "step", "")) == (seen.what, seen.where, seen.step)
    assert seen.expected in error.expected
    assert seen.found in error.found
    switch_off(name, home=endpoint.home)
    assert release(cloud).proof.message_bytes == 32


@pytest.mark.parametrize("name", [name for name in LOOKS if name != "token.envelope"])
def test_the_vault_refuses_the_same_token_by_itself(endpoint: Endpoint, name: str) -> None:
    cloud, seen = cloud_of(endpoint), LOOKS[name]
    switch_on(name, home=endpoint.home)
    attempted = attempt(cloud)
    assert attempted.local.verdict == "verified"
    assert attempted.token
    switch_off(name, home=endpoint.home)
    answer = raw_release(endpoint, attempted.token)
    if seen.vault == RELEASED:
        assert answer.status == 200
        return
    inner = {"code": "AccessDenied"}
    assert answer.status == 403
    assert answer.json() == {"error": {"code": "Forbidden", "message": seen.vault, "innererror": inner}}


# --- what makes each token what it says, read by PyJWT and by hand


def header_of(token: str) -> dict[str, Any]:
    found: dict[str, Any] = jwt.get_unverified_header(token)
    return found


def published(endpoint: Endpoint) -> dict[str, rsa.RSAPublicKey]:
    """The provider's keys by kid, as it publishes them."""
    found = {}
    for entry in send(endpoint, "GET", f"{ISSUER}/certs").json()["keys"]:
        key = x509.load_der_x509_certificate(base64.b64decode(entry["x5c"][0])).public_key()
        assert isinstance(key, rsa.RSAPublicKey)
        found[str(entry["kid"])] = key
    return found


def token_of(endpoint: Endpoint, name: str) -> str:
    """The token that the VM gets while a fault is on."""
    switch_on(name, home=endpoint.home)
    return attempt(cloud_of(endpoint)).token


def holds(token: str, key: rsa.RSAPublicKey) -> bool:
    """Whether PyJWT finds the RS256 signature to hold, whatever the claims say."""
    try:
        jwt.decode(token, key, ["RS256"], options={"verify_exp": False, "verify_nbf": False, "verify_iat": False})
    except jwt.InvalidSignatureError:
        return False
    return True


def test_a_good_token_holds(endpoint: Endpoint, target: str) -> None:
    assert holds(target, published(endpoint)[header_of(target)["kid"]])
    assert raw_release(endpoint, target).status == 200


@pytest.mark.parametrize("name", ["token.expired", "token.not-yet-valid", "token.replayed", "token.other-vm"])
def test_what_is_wrong_in_the_claims_is_signed_as_ever(endpoint: Endpoint, name: str) -> None:
    token = token_of(endpoint, name)
    assert holds(token, published(endpoint)[header_of(token)["kid"]])
    assert claims_of(token)["exp"] - claims_of(token)["iat"] == 28800


def test_another_tenant_s_token_holds_by_the_key_that_is_shared(endpoint: Endpoint) -> None:
    token = token_of(endpoint, "token.other-tenant")
    assert holds(token, published(endpoint)[header_of(token)["kid"]])
    assert header_of(token)["jku"] == "https://intruder.weu.attest.azure.net/certs"


@pytest.mark.parametrize("name", ["token.jku-swap", "token.other-authority", "token.signing-key-rotated"])
def test_other_keys_are_not_published(endpoint: Endpoint, name: str) -> None:
    token, keys = token_of(endpoint, name), published(endpoint)
    assert header_of(token)["kid"] not in keys
    assert not any(holds(token, key) for key in keys.values())


def test_the_public_key_is_the_secret_of_a_confused_algorithm(endpoint: Endpoint) -> None:
    token = token_of(endpoint, "token.algorithm-confusion")
    header = header_of(token)
    secret = published(endpoint)[header["kid"]].public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    covered, _, signature = token.rpartition(".")
    mac = hmac.new(secret, covered.encode(), hashlib.sha256).digest()
    assert base64.urlsafe_b64encode(mac).decode().rstrip("=") == signature
    assert header["alg"] == "HS256"


def test_an_unsigned_token_has_an_empty_signature(endpoint: Endpoint) -> None:
    token = token_of(endpoint, "token.algorithm-none")
    assert token.endswith(".")
    assert jwt.decode(token, options={"verify_signature": False})["iss"] == ISSUER


@pytest.mark.parametrize("name", ["token.replayed", "token.other-vm"])
def test_what_a_vault_wraps_for_another_vm_s_token_this_vm_cannot_open(endpoint: Endpoint, name: str) -> None:
    """That a token is replayed a vault cannot know; nothing is lost, since who shows it cannot open the answer."""
    token = token_of(endpoint, name)
    switch_off(name, home=endpoint.home)
    key = claims_of(raw_release(endpoint, token).json()["value"])["response"]["key"]["key"]
    envelope = json.loads(base64.urlsafe_b64decode(key["key_hsm"] + "=="))
    assert envelope["header"]["kid"] == "TpmEphemeralEncryptionKey"
    ciphertext = base64.urlsafe_b64decode(envelope["ciphertext"] + "==")
    with Attester(cloud_of(endpoint).enter(STAGE.vm)) as attester:
        attester.collect(user_data=b"")
        with pytest.raises(ServiceError) as caught:
            attester.decrypt(ciphertext[:256], "oaep-sha256")
    assert caught.value.code == "TPM_RC_FAILURE"


def test_the_command_line_names_the_step_and_ends_with_its_code(endpoint: Endpoint) -> None:
    switch_on("token.jku-swap", home=endpoint.home)
    done = skrkit(endpoint.home, "walkthrough", "--step", "4", "--vm", STAGE.vm)
    assert done.returncode == VerificationError.exit_code
    assert "https://keys.attest.example/certs" in " ".join(done.stderr.split())
