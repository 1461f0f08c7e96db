from __future__ import annotations

import json
from typing import Any

import pytest
from azure.keyvault.securitydomain import SecurityDomainClient
from azure.keyvault.securitydomain.models import CertificateInfo, SecurityDomain, SecurityDomainJsonWebKey
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from tests.sandbox.hsm.azure import HOLDERS, ROLE, ROLES, HsmAzure, certificate, jwk
from tests.sandbox.hsm.holders import for_upload, master_of, opened, parts_of
from tests.sandbox.vault.azure import OPERATOR, STRANGER, error_of

SMALL = rsa.generate_private_key(65537, 1024)
_EC = ec.generate_private_key(ec.SECP256R1())


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
    shared = document["SharedKeys"]
    assert document.keys() == {"EncData", "SharedKeys", "version"}
    assert (shared["key_algorithm"], shared["required"], document["EncData"]["kdf"]) == ("shamir_share", 2, "sp108_kdf")
    assert [each["x5t_256"] for each in shared["enc_shares"]] == [jwk(key)["x5t#S256"] for key in HOLDERS]
    masters = {master_of(document, HOLDERS, places) for places in ([0, 1], [1, 2], [2, 0], [0, 1, 2])}
    assert len(masters) == 1
    parts = parts_of(document, masters.pop())
    assert {tag: len(part) for tag, part in parts.items()} == {"skrkit-sandbox-domain": 32}
    state = provisioned.arm("GET", f"{provisioned.hsm_path()}?api-version=2026-05-15").json()["properties"]
    assert state["securityDomainProperties"]["activationStatus"] == "Active"
    assert provisioned.hsm("GET", "/providers/Microsoft.Authorization/roleDefinitions").status_code == 200


def test_one_holder_alone_reads_no_key(provisioned: HsmAzure) -> None:
    document = json.loads(provisioned.activate(required=2)["value"])
    with pytest.raises((AssertionError, ValueError)):  # no master key at all, or one that opens nothing
        parts_of(document, master_of(document, HOLDERS, [0]))
    with pytest.raises(ValueError, match=r"[Dd]ecryption"):
        opened(document["SharedKeys"]["enc_shares"][1]["enc_key"], HOLDERS[0])


def test_the_sdk_for_security_domains_downloads_and_waits(provisioned: HsmAzure) -> None:
    url = "https://pool.managedhsm.azure.net"
    client = SecurityDomainClient(url, provisioned.credential(), **provisioned.options())
    certificates = [SecurityDomainJsonWebKey(jwk(key)) for key in HOLDERS]
    domain = client.begin_download(CertificateInfo(certificates=certificates, required=3)).result()
    assert json.loads(domain.value)["SharedKeys"]["required"] == 3
    assert client.get_download_status().status == "Success"
    assert (
        json.loads(str(client.get_transfer_key()["transfer_key"]))["kty"] == "RSA"
    )  # a text: so the Azure CLI reads it


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
    masters = master_of(first, HOLDERS, [0, 2]), master_of(second, HOLDERS, [0, 1, 2])
    assert masters[0] != masters[1]
    assert parts_of(first, masters[0]) == parts_of(second, masters[1])


def _to(azure: HsmAzure, document: dict[str, Any], *, name: str = "other", **changed: Any) -> Any:
    """Return the answer to the upload of a domain, which two of its holders opened, into another HSM."""
    key = azure.hsm("GET", "/securitydomain/upload", name=name).json()["transfer_key"]
    parts = parts_of(document, master_of(document, HOLDERS, [2, 0]))
    value = json.dumps(for_upload(parts, key) | changed)
    return azure.hsm("POST", "/securitydomain/upload", {"value": value}, name=name)


def test_a_quorum_makes_another_hsm_of_the_same_domain_and_backups_move(azure: HsmAzure) -> None:
    document = json.loads(azure.activate(required=2)["value"])
    azure.hsm("POST", "/keys/moving/create", {"kty": "oct-HSM", "key_size": 256})
    backup = azure.hsm("POST", "/keys/moving/backup").json()
    azure.make_hsm("other")
    azure.make_hsm("foreign")
    assert _to(azure, document).status_code == 202
    azure.activate("foreign")
    assert azure.hsm("GET", "/securitydomain/upload/pending", name="other").json()["status"] == "Success"
    for name, status in (("other", 200), ("foreign", 400)):
        put = "/keys/providers/Microsoft.Authorization/roleAssignments/aaaaaaaa-0000-4000-8000-00000000000f"
        grant = {"properties": {"roleDefinitionId": ROLE + ROLES["Crypto User"], "principalId": OPERATOR.oid}}
        assert azure.hsm("PUT", put, grant, name=name).status_code == 201
        assert azure.hsm("POST", "/keys/restore", backup, name=name).status_code == status


def test_what_was_sealed_for_another_hsm_or_changed_on_the_way_makes_no_domain(azure: HsmAzure) -> None:
    document = json.loads(azure.activate(required=2)["value"])
    for name in ("other", "third"):
        azure.make_hsm(name)
    master = master_of(document, HOLDERS, [0, 1])
    keys = {
        each: azure.hsm("GET", "/securitydomain/upload", name=each).json()["transfer_key"]
        for each in ("other", "third")
    }
    right = for_upload(parts_of(document, master), keys["other"])
    foreign = for_upload(parts_of(document, master), keys["third"])
    short = for_upload({"skrkit-sandbox-domain": b"short"}, keys["other"])
    unknown = for_upload({"another-tag": bytes(32)}, keys["other"])
    for value in (foreign, short, unknown, right | {"EncData": foreign["EncData"]}, right | {"WrappedKey": {}},
                  right | {"EncData": right["EncData"] | {"kdf": "none"}}, right | {"EncData": 7},
                  right | {"EncData": right["EncData"] | {"data": right["EncData"]["data"] * 2}}):  # fmt: skip
        refused = azure.hsm("POST", "/securitydomain/upload", {"value": json.dumps(value)}, name="other")
        assert error_of(refused)[:2] == (400, "BadParameter")
    assert azure.hsm("GET", "/securitydomain/upload/pending", name="other").status_code == 404
    accepted = azure.hsm("POST", "/securitydomain/upload", {"value": json.dumps(right)}, name="other")
    assert accepted.status_code == 202


@pytest.mark.parametrize("value", [None, "", "[]", "{}", '{"EncData": {}, "WrappedKey": {"enc_key": 7}}', "[" * 9999])
def test_what_is_no_domain_is_refused(provisioned: HsmAzure, value: Any) -> None:
    assert provisioned.hsm("POST", "/securitydomain/upload", {"value": value}).status_code == 400


def test_an_active_hsm_takes_no_other_domain(azure: HsmAzure) -> None:
    document = json.loads(azure.activate(required=2)["value"])
    assert error_of(_to(azure, document, name="pool"))[:2] == (409, "Conflict")
    assert SecurityDomain(value="x").value == "x"
