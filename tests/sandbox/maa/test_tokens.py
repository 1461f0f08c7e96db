"""The tokens: right signature by plain PyJWT and `cryptography`, and the claims of a real one, name by name."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from starlette.types import ASGIApp

from skrkit.sandbox.maa.keys import jwks_of
from skrkit.sandbox.world import World

from .asgi_call import ask
from .attested import HOST, NOW, Attester, b64, make_attester

GUEST = f"https://{HOST}/attest/AzureGuest?api-version=2020-10-01"
PLATFORM = f"https://{HOST}/attest/SevSnpVm?api-version=2022-08-01"


@pytest.fixture(scope="module")
def made(world: World) -> Attester:
    return make_attester(world)


@pytest.fixture
def vm(made: Attester) -> Attester:
    return Attester(world=made.world, chip=made.chip, ak=made.ak, ek=made.ek, enc=made.enc)


def token_of(app: ASGIApp, url: str, body: Any) -> str:
    answer = ask(app, "POST", url, body=json.dumps(body).encode())
    assert answer.status == 200, answer.body
    return str(answer.json()["token"])


def unseal(token: str, key: rsa.RSAPrivateKey) -> str:
    """Open the envelope as the vTPM and Microsoft's client do together."""
    envelope = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    inner = key.decrypt(base64.b64decode(envelope["EncryptedInnerKey"]), padding.PKCS1v15())
    assert len(inner) * 8 == envelope["EncryptionParams"]["KeySizeInBits"]
    iv = base64.b64decode(envelope["EncryptionParams"]["Iv"])
    sealed = base64.b64decode(envelope["Jwt"]) + base64.b64decode(envelope["AuthenticationData"])
    return AESGCM(inner).decrypt(iv, sealed, b"Transport Key").decode()


def verified(app: ASGIApp, token: str) -> dict[str, Any]:
    """Return the claims once PyJWT has checked the signature with the published certificate."""
    header = jwt.get_unverified_header(token)
    keys = ask(app, "GET", header["jku"]).json()["keys"]
    entry = next(key for key in keys if key["kid"] == header["kid"])
    certificate = x509.load_der_x509_certificate(base64.b64decode(entry["x5c"][0]))
    key = certificate.public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    options: Any = {"verify_exp": False, "verify_nbf": False, "verify_iat": False}
    return jwt.decode(token, key, algorithms=["RS256"], issuer=f"https://{HOST}", options=options)


def types(value: Any) -> Any:
    """A value with every leaf replaced by its type's name."""
    if isinstance(value, dict):
        return {name: types(member) for name, member in value.items()}
    if isinstance(value, list):
        return [types(member) for member in value]
    return type(value).__name__


def real_claims(captures: Path) -> dict[str, Any]:
    text = (captures / "maa-token-and-akv-release" / "maa-token.jwt").read_text().strip()
    claims: dict[str, Any] = jwt.decode(text, options={"verify_signature": False})
    return claims


def test_guest_token_opens_verifies_and_has_the_real_ones_claims(app: ASGIApp, vm: Attester, captures: Path) -> None:
    claims = verified(app, unseal(token_of(app, GUEST, vm.body()), vm.enc))
    real = real_claims(captures)
    ours, theirs = types(claims), types(real)
    # The real token is of 2022: one key and a time in its runtime claims where newer paravisors have two and user data.
    for tee in (ours["x-ms-isolation-tee"], theirs["x-ms-isolation-tee"]):
        tee["x-ms-runtime"]["keys"] = tee["x-ms-runtime"]["keys"][:1]
        tee["x-ms-runtime"].pop("user-data", None)
        tee["x-ms-runtime"]["vm-configuration"].pop("current-time", None)
    assert ours == theirs


def test_guest_token_has_the_real_ones_fixed_values(app: ASGIApp, vm: Attester, captures: Path) -> None:
    claims = verified(app, unseal(token_of(app, GUEST, vm.body()), vm.enc))
    real = real_claims(captures)
    differ = {name for name in real if real[name] != claims[name]}
    assert differ == {
        "exp",
        "iat",
        "nbf",
        "jti",
        "x-ms-azurevm-osversion-major",
        "x-ms-azurevm-vmid",
        "x-ms-isolation-tee",
        "x-ms-runtime",
    }


def test_members_are_in_alphabetical_order_and_the_header_is_the_real_ones(
    app: ASGIApp, vm: Attester, captures: Path
) -> None:
    token = unseal(token_of(app, GUEST, vm.body()), vm.enc)
    header, payload = (base64.urlsafe_b64decode(part + "==") for part in token.split(".")[:2])
    real = (captures / "maa-token-and-akv-release" / "maa-token.jwt").read_text().split(".")[0]
    assert list(json.loads(header)) == list(json.loads(base64.urlsafe_b64decode(real + "==")))
    assert list(json.loads(payload)) == sorted(json.loads(payload))
    assert b": " not in payload


def test_guest_token_echoes_binds_and_dates(app: ASGIApp, vm: Attester) -> None:
    claims = verified(app, unseal(token_of(app, GUEST, vm.body()), vm.enc))
    assert claims["x-ms-runtime"]["client-payload"] == {"nonce": b64(b"1234")}
    key = claims["x-ms-runtime"]["keys"][0]
    modulus = int.from_bytes(base64.urlsafe_b64decode(key["n"] + "=="), "big")
    assert modulus == vm.enc.public_key().public_numbers().n
    assert claims["iat"] == claims["nbf"] == int(NOW.timestamp())
    assert claims["exp"] - claims["iat"] == 28800
    assert claims["x-ms-azurevm-vmid"] == vm.vm_id.upper()
    tee = claims["x-ms-isolation-tee"]
    assert tee["x-ms-compliance-status"] == "azure-compliant-cvm"
    assert tee["x-ms-runtime"] == json.loads(vm.runtime())
    assert (tee["x-ms-sevsnpvm-microcode-svn"], tee["x-ms-sevsnpvm-snpfw-svn"]) == (219, 24)


def test_platform_token(app: ASGIApp, vm: Attester) -> None:
    vm.set["platform"] = {"nonce": 12345678901234567890}
    claims = verified(app, token_of(app, PLATFORM, vm.platform_body()))
    assert claims["x-ms-attestation-type"] == "sevsnpvm"
    assert claims["x-ms-compliance-status"] == "azure-compliant-cvm"
    assert claims["x-ms-runtime"] == json.loads(vm.runtime())
    assert claims["nonce"] == 12345678901234567890
    assert "x-ms-isolation-tee" not in claims
    assert "secureboot" not in claims


@pytest.mark.parametrize(
    ("changes", "claim", "value"),
    [
        ({"policy": 0x3001F | 1 << 19}, "x-ms-sevsnpvm-is-debuggable", True),
        ({"vmpl": 1}, "x-ms-sevsnpvm-vmpl", 1),
        ({"id_key_digest": bytes(48)}, "x-ms-sevsnpvm-idkeydigest", "00" * 48),
        ({"image_id": bytes(16)}, "x-ms-sevsnpvm-imageId", "00" * 16),
        ({"family_id": bytes(16)}, "x-ms-sevsnpvm-familyId", "00" * 16),
    ],
)
def test_a_machine_that_is_not_compliant_gets_a_token_that_says_so(
    app: ASGIApp, vm: Attester, changes: dict[str, Any], claim: str, value: Any
) -> None:
    vm.report_changes = changes
    claims = verified(app, token_of(app, PLATFORM, vm.platform_body()))
    assert claims[claim] == value
    assert "x-ms-compliance-status" not in claims


def test_a_tcb_below_the_floor_is_not_compliant(app: ASGIApp, vm: Attester) -> None:
    vm.chip = vm.world.silicon.make_chip(tcb=bytes([2, 0, 0, 0, 0, 0, 8, 115]))
    claims = verified(app, token_of(app, PLATFORM, vm.platform_body()))
    assert claims["x-ms-sevsnpvm-bootloader-svn"] == 2
    assert "x-ms-compliance-status" not in claims


def test_without_runtime_data_nothing_is_compliant(app: ASGIApp, vm: Attester) -> None:
    body = vm.platform_body()
    del body["runtimeData"]
    claims = verified(app, token_of(app, PLATFORM, body))
    assert "x-ms-compliance-status" not in claims
    assert "x-ms-runtime" not in claims


# --- the variants that shipped clients send -------------------------------------------------------------------


@pytest.mark.parametrize("path", ["AzureGuest", "azureGuest", "azureguest", "AZUREGUEST"])
def test_path_in_any_case(app: ASGIApp, vm: Attester, path: str) -> None:
    url = f"https://{HOST}/attest/{path}?api-version=2025-06-01"
    assert unseal(token_of(app, url, vm.body()), vm.enc).count(".") == 2


def to_url(text: str) -> str:
    return text.replace("+", "-").replace("/", "_").rstrip("=")


def recode(value: Any) -> Any:
    """The same request with every base64 text in the other alphabet and without padding."""
    if isinstance(value, dict):
        return {name.upper(): recode(member) for name, member in value.items()}
    if isinstance(value, list):
        return [recode(member) for member in value]
    return to_url(value) if isinstance(value, str) and len(value) > 8 else value


def test_other_alphabet_no_padding_and_upper_case_members(app: ASGIApp, vm: Attester) -> None:
    info = recode(vm.info())
    info["CLIENTPAYLOAD"] = {"nonce": {"nested": [1, None]}}  # as the Python client may send it
    body = {"attestationinfo": b64(json.dumps(info).encode())}
    claims = verified(app, unseal(token_of(app, GUEST, body), vm.enc))
    assert claims["x-ms-runtime"]["client-payload"] == {"nonce": {"nested": [1, None]}}


@pytest.mark.parametrize(("payload", "echo"), [(None, {}), ({}, {}), ({"nonce": ""}, {"nonce": ""})])
def test_client_payloads(app: ASGIApp, vm: Attester, payload: Any, echo: Any) -> None:
    vm.set["ClientPayload"] = payload
    claims = verified(app, unseal(token_of(app, GUEST, vm.body()), vm.enc))
    assert claims["x-ms-runtime"]["client-payload"] == echo


def test_os_version_as_text_with_a_leading_zero(app: ASGIApp, vm: Attester) -> None:
    vm.set.update(OSVersionMajor="22", OSVersionMinor="04")
    claims = verified(app, unseal(token_of(app, GUEST, vm.body()), vm.enc))
    assert (claims["x-ms-azurevm-osversion-major"], claims["x-ms-azurevm-osversion-minor"]) == (22, 4)


def test_ak_public_followed_by_its_names(app: ASGIApp, vm: Attester) -> None:
    import hashlib

    public = vm.ak_public()
    name = b"\x00\x22\x00\x0b" + hashlib.sha256(public[2:]).digest()
    vm.set["AikPub"] = public + name + name
    assert unseal(token_of(app, GUEST, vm.body()), vm.enc).count(".") == 2


def test_ak_certificate_without_padding(app: ASGIApp, vm: Attester) -> None:
    vm.set["AikCert"] = vm.world.machines.authority.issue(vm.ak.public_key(), vm_id=vm.vm_id)
    assert unseal(token_of(app, GUEST, vm.body()), vm.enc).count(".") == 2


def test_all_24_pcrs_quoted(app: ASGIApp, vm: Attester) -> None:
    vm.pcr_set = vm.quoted_pcrs = tuple(range(16))
    claims = verified(app, unseal(token_of(app, GUEST, vm.body()), vm.enc))
    assert claims["x-ms-azurevm-attested-pcrs"] == list(range(16))


def test_sidecars_empty_init_time_data_is_as_none(app: ASGIApp, vm: Attester) -> None:
    vm.set["platform"] = {"initTimeData": {"data": "", "dataType": ""}}
    claims = verified(app, token_of(app, PLATFORM, vm.platform_body()))
    assert "x-ms-inittime" not in claims


def test_init_time_data_must_be_what_host_data_is_the_hash_of(app: ASGIApp, vm: Attester) -> None:
    import hashlib

    data = b'{"policy":"x"}'
    part = {"data": b64(data), "dataType": "JSON"}
    vm.set["platform"] = {"initTimeData": part}
    answer = ask(app, "POST", PLATFORM, body=json.dumps(vm.platform_body()).encode())
    assert "bind.init_time_data" in answer.json()["error"]["message"]
    vm.report_changes["host_data"] = hashlib.sha256(data).digest()
    claims = verified(app, token_of(app, PLATFORM, vm.platform_body()))
    assert claims["x-ms-inittime"] == {"policy": "x"}


# --- keys and discovery ------------------------------------------------------------------------------------------


def test_each_provider_has_its_own_lasting_key(app: ASGIApp, world: World) -> None:
    other = "sharedneu.neu.attest.azure.net"
    first = ask(app, "GET", f"https://{HOST}/certs").json()
    assert first == jwks_of(world, HOST)
    assert first != jwks_of(world, other)
    world.cache.clear()
    assert first == jwks_of(world, HOST)
    certificate = x509.load_der_x509_certificate(base64.b64decode(first["keys"][0]["x5c"][0]))
    assert certificate.subject.rfc4514_string() == f"CN=https://{HOST}"
    assert certificate.subject == certificate.issuer


def test_a_host_that_is_no_provider_has_no_keys(world: World) -> None:
    assert jwks_of(world, "mine.weu.attest.azure.net") == {"keys": []}
    assert world.store.get("maa", "mine.weu.attest.azure.net") is None


def test_discovery(app: ASGIApp) -> None:
    document = ask(app, "GET", f"https://{HOST}/.well-known/openid-configuration").json()
    assert document["issuer"] == f"https://{HOST}"
    assert document["jwks_uri"] == f"https://{HOST}/certs"
