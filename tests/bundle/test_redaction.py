"""Redaction, on texts as Azure writes them: what has to go, what has to stay, and that comparisons still hold."""

from __future__ import annotations

import json
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skrkit.bundle.identifiers import Pseudonyms
from skrkit.bundle.redaction import Redaction, check_no_secrets
from skrkit.errors import VerificationError
from skrkit.wire import Json

TENANT = "72f988bf-86f1-41af-91ab-2d7cd011db47"
JWT = "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJodHRwczovL3NoYXJlZHdldSJ9.c2lnbmF0dXJlLXNpZ25hdHVyZQ"


def redacted(value: Json, *, learnt: Json = None, kept: str = "") -> Json:
    pseudonyms = Pseudonyms(kept=frozenset({kept} - {""}))
    pseudonyms.learn([value, learnt])
    return Redaction(pseudonyms=pseudonyms).json(value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            f"/subscriptions/{TENANT}/resourceGroups/contoso-rg/providers/Microsoft.KeyVault/vaults/contosokv",
            "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/group-1/providers/Microsoft.KeyVault/vaults/vault-1",
        ),
        (
            "https://contosokv.vault.azure.net/keys/payroll/78deebed173b48e48f55abf87ed4cf71/release?api-version=7.4",
            "https://vault-1.vault.azure.net/keys/key-1/00000000000000000000000000000001/release?api-version=7.4",
        ),
        ("https://contosohsm.managedhsm.azure.net", "https://vault-1.managedhsm.azure.net"),
        ("https://contoso.weu.attest.azure.net", "https://provider-1.weu.attest.azure.net"),
        ("https://sharedweu.weu.attest.azure.net", "https://sharedweu.weu.attest.azure.net"),
        (
            "Client address is not authorized and caller is not a trusted service.\r\nClient address: 20.31.5.9",
            "Client address is not authorized and caller is not a trusted service.\r\nClient address: 192.0.2.1",
        ),
        ("http://169.254.169.254/metadata/instance", "http://169.254.169.254/metadata/instance"),
        ("127.0.0.1 and ::1", "127.0.0.1 and ::1"),
        ("2a01:111:f403:c200::5", "2001:db8::1"),
        ("ann@contoso.com", "user-1"),
        ("contoso.onmicrosoft.com", "tenant-1.onmicrosoft.com"),
        ("/home/ann/skr/ca.pem", "/home/user-1/skr/ca.pem"),
        ("C:\\Users\\ann\\ca.pem", "C:\\Users\\user-1\\ca.pem"),
        ("00-0D-3A-11-22-33", "00:00:5e:00:53:01"),
        ("2026-11-25T19:55:12+00:00, version 1.0, TCB 04.00", "2026-11-25T19:55:12+00:00, version 1.0, TCB 04.00"),
        # a built-in role is the same in every tenant, and what a wrong one is found by
        (
            "roleDefinitions/08bbd89e-9f13-488c-ac41-acfcb10c90ab",
            "roleDefinitions/08bbd89e-9f13-488c-ac41-acfcb10c90ab",
        ),
    ],
)
def test_identifiers_in_texts(text: str, expected: str) -> None:
    assert redacted(text) == expected


def test_one_identifier_has_one_pseudonym_in_any_letter_case_and_place() -> None:
    document: Json = {
        "oid": TENANT.upper(),
        "error": f"Caller: appid={TENANT};oid={TENANT}\r\nVault: ContosoKV;location=westeurope",
        "vaultUri": "https://contosokv.vault.azure.net/",
        "identity": {"userAssignedIdentities": {f"/subscriptions/{TENANT}/resourceGroups/r/x": {}}},
    }
    made = redacted(document)
    assert isinstance(made, dict)
    guid = "00000000-0000-0000-0000-000000000001"
    assert made["oid"] == guid
    assert made["error"] == f"Caller: appid={guid};oid={guid}\r\nVault: vault-1;location=westeurope"
    assert f"/subscriptions/{guid}/resourceGroups/group-1/x" in str(made["identity"])
    assert TENANT not in json.dumps(made).lower()


def test_a_name_that_is_a_word_of_the_protocol_is_replaced_as_a_name_only() -> None:
    document: Json = {
        "key": "encrypt",
        "vm": "cvm",
        "key_ops": ["encrypt", "wrapKey"],
        "kid": "https://contosokv.vault.azure.net/keys/encrypt/78deebed173b48e48f55abf87ed4cf71",
        "x-ms-compliance-status": "azure-compliant-cvm",
        "id": "/resourceGroups/vault/providers/Microsoft.Compute/virtualMachines/cvm",
    }
    made = redacted(document)
    assert isinstance(made, dict)
    assert (made["key"], made["vm"]) == ("key-1", "vm-1")
    assert made["key_ops"] == ["encrypt", "wrapKey"]
    assert made["x-ms-compliance-status"] == "azure-compliant-cvm"
    assert made["kid"] == "https://vault-1.vault.azure.net/keys/key-1/00000000000000000000000000000001"
    assert made["id"] == "/resourceGroups/group-1/providers/Microsoft.Compute/virtualMachines/vm-1"


def test_json_pointers_into_keys_are_no_key_names() -> None:
    text = "runtime claims /keys/HCLAkPub/n, /x-ms-runtime/keys/0/kid"
    assert redacted([text, {"kid": "HCLAkPub"}]) == [text, {"kid": "HCLAkPub"}]


def test_what_is_kept_stays_in_every_form() -> None:
    assert redacted({"vmId": TENANT, "vmid": TENANT.upper()}, kept=TENANT) == {"vmId": TENANT, "vmid": TENANT.upper()}


@pytest.mark.parametrize(
    ("value", "secret"),
    [
        ({"access_token": "abcdefghij"}, "abcdefghij"),
        ({"target": JWT}, JWT),
        ({"value": JWT}, JWT),
        ({"message": f"token {JWT} was refused"}, JWT),
        ({"none": JWT.rpartition(".")[0] + "."}, JWT.rpartition(".")[0]),
        ({"Authorization": f"Bearer {JWT}"}, JWT),
        ({"Authorization": "Bearer 0123456789abcdefABCDEF"}, "0123456789abcdefABCDEF"),
        ({"body": "grant_type=client_credentials&client_secret=s3cr3t.value~x&scope=y"}, "s3cr3t.value~x"),
        ({"url": "https://x.blob.core.windows.net/c/b?sv=2022&sig=AbCdEf%2B123456%3D"}, "AbCdEf%2B123456%3D"),
        ({"kty": "RSA", "n": "AQAB", "d": "cHJpdmF0ZQ", "p": "cA"}, "cHJpdmF0ZQ"),
        ({"kty": "oct", "k": "c3ltbWV0cmlj"}, "c3ltbWV0cmlj"),
        ({"pem": "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----"}, "MIIEow"),
        ({"pem": "-----BEGIN PRIVATE KEY-----\nMIIEowIBAAKCAQEA"}, "MIIEowIBAAKCAQEA"),
        ({"osProfile": {"adminPassword": "hunter2hunter2", "customData": "Y2xvdWQtaW5pdA=="}}, "hunter2hunter2"),
        ({"AttestationInfo": "QUJD" * 1000}, "QUJDQUJDQUJD"),
    ],
)
@pytest.mark.parametrize("with_identifiers", [False, True])
def test_a_secret_is_a_digest_whether_or_not_identifiers_are_kept(
    value: Json, secret: str, with_identifiers: bool
) -> None:
    redaction = Redaction(pseudonyms=None if with_identifiers else Pseudonyms())
    text = json.dumps(redaction.json(value), ensure_ascii=False)
    assert secret not in text
    assert "<sha256 " in text
    assert sum(redaction.secrets.values()) >= 1


@pytest.mark.parametrize(
    "text",
    [
        'Bearer authorization="https://login.microsoftonline.com/x", resource="https://vault.azure.net"',
        "AKV10000: Request is missing a Bearer or PoP token.",
        "the bearer authentication scheme",
        "<sha256 e91b8287…, 1302 characters>",
        "Bearer <sha256 e91b8287…, 1302 characters>",
        "signature=is not a secret",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert Redaction(pseudonyms=None).json(text) == text


def test_the_policy_inside_a_key_bundle_is_redacted_and_still_decodes() -> None:
    from skrkit.encoding import b64url
    from skrkit.policy.parse import decode_policy

    clause = {"claim": "x-ms-azurevm-vmid", "equals": TENANT.upper()}
    policy = {"version": "1.0.0", "anyOf": [{"authority": "https://c1.weu.attest.azure.net", "allOf": [clause]}]}
    text = json.dumps(policy)
    made = redacted({"release_policy": {"data": b64url(text.encode()), "immutable": False}}, learnt=text)
    assert isinstance(made, dict)
    stored = made["release_policy"]
    assert isinstance(stored, dict)
    decoded = decode_policy(str(stored["data"]))
    (authority,) = decoded.root
    assert authority.authority == "https://provider-1.weu.attest.azure.net"
    assert authority.group.document() == {
        "allOf": [{"claim": "x-ms-azurevm-vmid", "equals": "00000000-0000-0000-0000-000000000001"}]
    }


def test_a_policy_that_is_no_json_keeps_every_other_byte() -> None:
    redaction = Redaction(pseudonyms=Pseudonyms())
    for data in (b'{"version": \xff "1.0.0"', b"", b"  {}\r\n"):
        assert redaction.text(data) == data
    assert redaction.text("{}".encode("utf-16")) == b""
    assert redaction.secrets["text in another encoding"] == 1


def test_tags_are_left_out() -> None:
    assert redacted({"tags": {"owner": "Ann", "cost": "42"}}) == {"tags": "<2 left out>"}


@pytest.mark.parametrize(
    "data",
    [
        JWT.encode(),
        b"-----BEGIN EC PRIVATE KEY-----",
        b'{"kty":"RSA","d" : "AAAAAAAAAAAAAAAAAAAAAAAA"}',
        b"Authorization: bearer AAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        b'"client_secret": "AAAAAAAAAAAA"',
    ],
)
def test_the_last_search_finds_what_redaction_would_have_missed(data: bytes) -> None:
    with pytest.raises(VerificationError) as refused:
        check_no_secrets({"case/exchanges.json": b"prefix " + data})
    assert (refused.value.step, refused.value.where) == ("bundle.secrets", "case/exchanges.json")
    assert data.decode() not in str(refused.value)


_NAMES = st.text(string.ascii_lowercase + string.digits + "-", min_size=3, max_size=20).filter(
    lambda text: text[0].isalpha() and not text.endswith("-")
)


@settings(max_examples=150, deadline=None)
@given(vault=_NAMES, key=_NAMES, group=_NAMES, guid=st.uuids())
def test_no_name_survives_where_azure_writes_it(vault: str, key: str, group: str, guid: object) -> None:
    version = "a" * 32
    texts: list[Json] = [
        f"https://{vault}.vault.azure.net/keys/{key}/{version}",
        f"/subscriptions/{guid}/resourceGroups/{group}/providers/Microsoft.KeyVault/vaults/{vault}",
    ]
    made = redacted(texts)
    assert isinstance(made, list)
    uri, resource = str(made[0]), str(made[1])
    host, _, path = uri.removeprefix("https://").partition("/")
    _, key_made, version_made = path.split("/")
    parts = resource.split("/")
    given_names = [vault, key, group, vault, str(guid), version]
    made_names = [host.partition(".")[0], key_made, parts[4], parts[-1], parts[2], version_made]
    for name, pseudonym in zip(given_names, made_names, strict=True):
        assert pseudonym != name
        # two names are told apart after as before, and one name is one
        assert [other == name for other in given_names] == [other == pseudonym for other in made_names]
    assert uri == f"https://{made_names[0]}.vault.azure.net/keys/{key_made}/{version_made}"
