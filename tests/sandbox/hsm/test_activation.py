from __future__ import annotations

import json
from typing import Any

import pytest
from azure.keyvault.securitydomain import SecurityDomainClient
from azure.keyvault.securitydomain.models import CertificateInfo, SecurityDomain, SecurityDomainJsonWebKey
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding

from skrkit.encoding import b64url, b64url_bytes
from skrkit.sandbox.hsm.sharing import joined
from tests.sandbox.hsm.azure import HOLDERS, ROLE, ROLES, HsmAzure, certificate, jwk
from tests.sandbox.vault.azure import OPERATOR, STRANGER, error_of

OAEP = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
SMALL = rsa.generate_private_key(65537, 1024)
_EC = ec.generate_private_key(ec.SECP256R1())


def opened(share: str, key: rsa.RSAPrivateKey) -> bytes:
    """Return what a holder reads in a JWE, by the steps of RFC 7516."""
    header, wrapped, nonce, content, tag = share.split(".")
    secret = key.decrypt(_bytes(wrapped), OAEP)
    return AESGCM(secret).decrypt(_bytes(nonce), _bytes(content) + _bytes(tag), header.encode())


def resealed(share: bytes, to: dict[str, Any]) -> str:
    """Return a share as a JWE for the transfer key of another HSM."""
    key = rsa.RSAPublicNumbers(
        n=int.from_bytes(_bytes(to["n"]), "big"), e=int.from_bytes(_bytes(to["e"]), "big")
    ).public_key()
    secret, nonce = AESGCM.generate_key(256), bytes(12)
    header = b64url(json.dumps({"alg": "RSA-OAEP-256", "enc": "A256GCM"}).encode())
    both = AESGCM(secret).encrypt(nonce, share, header.encode())
    parts = (b64url(each) for each in (key.encrypt(secret, OAEP), nonce, both[:-16], both[-16:]))
    return ".".join((header, *parts))


def _bytes(text: str) -> bytes:
    return b64url_bytes(text, what="a part", where="here")


def test_before_activation_there_are_neither_keys_nor_roles(provisioned: HsmAzure) -> None:
    state = provisioned.arm("GET", f"{provisioned.hsm_path()}?api-version=2026-05-15").json()["properties"]
    assert state["provisioningState"] == "Succeeded"
    assert state["securityDomainProperties"]["activationStatus"] == "NotActivated"
    for method, path in (("GET", "/keys"), ("POST", "/keys/k/create"), ("POST", "/rng"), ("GET", "/deletedkeys"),
                         ("GET", "/providers/Microsoft.Authorization/roleDefinitions")):  # fmt: skip
        status, code, _, message = error_of(provisioned.hsm(method, path))
        assert (status, code) == (403, "Forbidden")
        assert "not activated" in message
        assert message.endswith(")")


def test_a_download_activates_and_a_quorum_of_the_holders_opens_it(provisioned: HsmAzure) -> None:
    document = json.loads(provisioned.activate(required=2)["value"])
    assert document["version"] == "skrkit-sandbox-1"
    assert document["required"] == 2
    shares = [opened(entry["share"], key) for entry, key in zip(document["shares"], HOLDERS, strict=True)]
    assert [share[0] for share in shares] == [1, 2, 3]
    keys = {joined({share[0]: share[1:] for share in pair}) for pair in (shares[:2], shares[1:], shares[::2])}
    assert len(keys) == 1
    header, _, nonce, content, tag = document["data"].split(".")
    content = AESGCM(keys.pop()).decrypt(_bytes(nonce), _bytes(content) + _bytes(tag), header.encode())
    assert json.loads(content) == {"hsm": "pool"}
    state = provisioned.arm("GET", f"{provisioned.hsm_path()}?api-version=2026-05-15").json()["properties"]
    assert state["securityDomainProperties"]["activationStatus"] == "Active"
    assert provisioned.hsm("GET", "/providers/Microsoft.Authorization/roleDefinitions").status_code == 200


def test_one_holder_alone_reads_no_key(provisioned: HsmAzure) -> None:
    document = json.loads(provisioned.activate(required=2)["value"])
    mine = opened(document["shares"][0]["share"], HOLDERS[0])
    wrong = joined({mine[0]: mine[1:]})
    header, _, nonce, content, tag = document["data"].split(".")
    with pytest.raises(Exception, match=r"^$"):
        AESGCM(wrong).decrypt(_bytes(nonce), _bytes(content) + _bytes(tag), header.encode())
    with pytest.raises(ValueError, match=r"[Dd]ecryption"):
        opened(document["shares"][1]["share"], HOLDERS[0])


def test_the_sdk_for_security_domains_downloads_and_waits(provisioned: HsmAzure) -> None:
    url = "https://pool.managedhsm.azure.net"
    client = SecurityDomainClient(url, provisioned.credential(), **provisioned.options())
    certificates = [SecurityDomainJsonWebKey(jwk(key)) for key in HOLDERS]
    domain = client.begin_download(CertificateInfo(certificates=certificates, required=3)).result()
    assert json.loads(domain.value)["required"] == 3
    assert client.get_download_status().status == "Success"
    assert client.get_transfer_key().transfer_key.kty == "RSA"


GOOD = [jwk(key) for key in HOLDERS]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "3 to 10 certificates"),
        ({"certificates": GOOD[:2]}, "3 to 10 certificates"),
        ({"certificates": GOOD * 4}, "3 to 10 certificates"),
        ({"certificates": "all of them"}, "3 to 10 certificates"),
        ({"certificates": [*GOOD[:2], GOOD[0]]}, "the same key twice"),
        ({"certificates": GOOD, "required": 1}, "'required' must be between 2 and 10"),
        ({"certificates": GOOD, "required": 11}, "'required' must be between 2 and 10"),
        ({"certificates": GOOD, "required": True}, "'required' must be between 2 and 10"),
        ({"certificates": GOOD, "required": 4}, "'required' is 4, for 3 certificates"),
        ({"certificates": [*GOOD[:2], {}]}, "certificates[2]: 'x5c' does not begin"),
        ({"certificates": [*GOOD[:2], 7]}, "certificates[2]: 'x5c' does not begin"),
        ({"certificates": [*GOOD[:2], GOOD[2] | {"x5c": ["AAAA"]}]}, "certificates[2]: 'x5c' does not begin"),
        ({"certificates": [*GOOD[:2], GOOD[2] | {"x5t#S256": GOOD[0]["x5t#S256"]}]}, "'x5t#S256' is not"),
        ({"certificates": [*GOOD[:2], GOOD[2] | {"n": GOOD[0]["n"]}]}, "'n' is not the certificate's"),
        ({"certificates": [*GOOD[:2], GOOD[2] | {"kty": "EC"}]}, "'n' is not the certificate's"),
        ({"certificates": [*GOOD[:2], jwk(SMALL)]}, "an RSA key of 2048 bits or more"),
    ],
)
def test_recipients_that_could_not_hold_a_domain_are_refused_and_nothing_is_activated(
    provisioned: HsmAzure, body: dict[str, Any], words: str
) -> None:
    status, code, _, message = error_of(provisioned.hsm("POST", "/securitydomain/download", body))
    assert (status, code) == (400, "BadParameter")
    assert words in message
    assert provisioned.hsm("GET", "/securitydomain/download/pending").status_code == 404


def test_an_ec_certificate_is_no_recipient(provisioned: HsmAzure) -> None:
    import base64

    der = certificate(_EC).public_bytes(Encoding.DER)
    entry = GOOD[0] | {"x5c": [base64.b64encode(der).decode()]}
    answer = provisioned.hsm("POST", "/securitydomain/download", {"certificates": [*GOOD[1:], entry]})
    assert "an RSA key of 2048 bits or more" in error_of(answer)[3]


def test_nobody_but_an_administrator_downloads_the_domain(provisioned: HsmAzure) -> None:
    answer = provisioned.hsm("POST", "/securitydomain/download", {"certificates": GOOD}, principal=STRANGER)
    status, code, _, message = error_of(answer)
    assert (status, code) == (403, "AccessDenied")
    action = "Microsoft.KeyVault/managedHsm/securitydomain/download/action"
    assert message.startswith(f"Not authorized to access {action} on / (Activity ID: ")


def test_a_second_download_gives_the_same_domain_to_other_holders(provisioned: HsmAzure) -> None:
    first = json.loads(provisioned.activate(required=2)["value"])
    second = json.loads(provisioned.activate(required=3)["value"])
    keys = []
    for document in (first, second):
        shares = [opened(entry["share"], key) for entry, key in zip(document["shares"], HOLDERS, strict=True)]
        keys.append(joined({share[0]: share[1:] for share in shares[: document["required"]]}))
    assert keys[0] == keys[1]


def _to(azure: HsmAzure, document: dict[str, Any], holders: list[int], *, name: str = "other") -> Any:
    """Return the answer to the upload of these holders' shares into another HSM, by the SDK's own models."""
    key = azure.hsm("GET", "/securitydomain/upload", name=name).json()["transfer_key"]
    shares = [{"share": resealed(opened(document["shares"][place]["share"], HOLDERS[place]), key)} for place in holders]
    value = json.dumps(document | {"shares": shares})
    return azure.hsm("POST", "/securitydomain/upload", {"value": value}, name=name)


def test_a_quorum_makes_another_hsm_of_the_same_domain_and_backups_move(azure: HsmAzure) -> None:
    document = json.loads(azure.activate(required=2)["value"])
    azure.hsm("POST", "/keys/moving/create", {"kty": "oct-HSM", "key_size": 256})
    backup = azure.hsm("POST", "/keys/moving/backup").json()
    azure.make_hsm("other")
    azure.make_hsm("foreign")
    assert _to(azure, document, [2, 0]).status_code == 202
    azure.activate("foreign")
    assert azure.hsm("GET", "/securitydomain/upload/pending", name="other").json()["status"] == "Success"
    for name, status in (("other", 200), ("foreign", 400)):
        put = "/keys/providers/Microsoft.Authorization/roleAssignments/aaaaaaaa-0000-4000-8000-00000000000f"
        grant = {"properties": {"roleDefinitionId": ROLE + ROLES["Crypto User"], "principalId": OPERATOR.oid}}
        assert azure.hsm("PUT", put, grant, name=name).status_code == 201
        assert azure.hsm("POST", "/keys/restore", backup, name=name).status_code == status


@pytest.mark.parametrize("holders", [[0], [0, 0]])
def test_too_few_shares_make_no_domain(azure: HsmAzure, holders: list[int]) -> None:
    document = json.loads(azure.activate(required=2)["value"])
    azure.make_hsm("other")
    assert "do not make up the security domain" in error_of(_to(azure, document, holders))[3]
    assert azure.hsm("GET", "/securitydomain/upload/pending", name="other").status_code == 404


@pytest.mark.parametrize("value", [None, "", "[]", "{}", '{"version": "skrkit-sandbox-1", "shares": [7]}', "[" * 9999])
def test_what_is_no_domain_is_refused(provisioned: HsmAzure, value: Any) -> None:
    assert provisioned.hsm("POST", "/securitydomain/upload", {"value": value}).status_code == 400


def test_an_active_hsm_takes_no_other_domain(azure: HsmAzure) -> None:
    document = json.loads(azure.activate(required=2)["value"])
    assert error_of(_to(azure, document, [0, 1], name="pool"))[:2] == (409, "Conflict")
    assert SecurityDomain(value="x").value == "x"
