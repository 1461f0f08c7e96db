"""Policies in force: what they say of real requests, and of what comes along to be tried."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.types import ASGIApp

from skrkit.sandbox.maa import policy, providers
from skrkit.sandbox.world import World

from .asgi_call import Answer, ask
from .attested import HOST, Attester, b64, b64url, make_attester

MINE = "mine.weu.attest.azure.net"
UNSIGNED = "eyJhbGciOiJub25lIn0"
CAPTURES = Path(os.environ.get("SKRKIT_CAPTURES") or Path(__file__).parents[4] / "shared" / "captures")


@pytest.fixture(scope="module")
def made(world: World) -> Attester:
    return make_attester(world)


@pytest.fixture
def vm(made: Attester) -> Attester:
    """The same keys and chip each time, with nothing changed."""
    return Attester(world=made.world, chip=made.chip, ak=made.ak, ek=made.ek, enc=made.enc)


@pytest.fixture
def mine(world: World) -> Iterator[providers.Provider]:
    """A provider of one's own, in AAD mode."""
    provider = providers.Provider(host=MINE, resource_id="/subscriptions/s/resourcegroups/g/mine")
    providers.register(world, provider)
    yield provider
    providers.remove(world, MINE)


def attest(app: ASGIApp, kind: str, body: dict[str, Any], host: str = HOST) -> Answer:
    return ask(app, "POST", f"https://{host}/attest/{kind}?api-version=2022-08-01", body=json.dumps(body).encode())


def parts(token: str) -> tuple[dict[str, Any], dict[str, Any], str]:
    header, payload, signature = token.split(".")
    decoded = [json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))) for part in (header, payload)]
    return decoded[0], decoded[1], signature


def platform(app: ASGIApp, vm: Attester, host: str = HOST) -> dict[str, Any]:
    answer = attest(app, "SevSnpVm", vm.platform_body(), host)
    assert answer.status == 200, answer.body
    return parts(answer.json()["token"])[1]


def upload(text: str) -> str:
    """A policy as Microsoft's documents wrap it, made here by hand."""
    return f"{UNSIGNED}.{b64url(json.dumps({'AttestationPolicy': b64url(text.encode())}).encode())}."


def hashed(text: str) -> str:
    """The policy hash as Microsoft's documents define it."""
    return b64url(hashlib.sha256(b64url(text.encode()).encode()).digest())


def test_the_default_of_platform_tokens_has_the_hash_of_azures_tokens(app: ASGIApp, vm: Attester) -> None:
    """The text in force is hashed here, by hand: it is the real one, to the last blank."""
    assert hashed(policy.SEV_SNP_TEXT) == "9NY0VnTQ-IiBriBplVUpFbczcDaEBUwsiFYAzHu_gco"
    assert platform(app, vm)["x-ms-policy-hash"] == "9NY0VnTQ-IiBriBplVUpFbczcDaEBUwsiFYAzHu_gco"


def test_a_policy_of_ones_own_is_in_the_token(
    world: World, app: ASGIApp, vm: Attester, mine: providers.Provider
) -> None:
    text = """version= 1.2;
    authorizationrules { [type=="x-ms-compliance-status", value=="azure-compliant-cvm"] => permit(); };
    issuancerules {
        c:[type=="x-ms-sevsnpvm-guestsvn"] => issue(type="svn", value=c.value);
        c:[type=="x-ms-runtime"] => issue(type="vm", value=JsonToClaimValue(
            JmesPath(c.value, "\\"vm-configuration\\".vmUniqueId")));
        => issue(type="both", value=1);
        => issue(type="both", value=true);
        => issue(type="exp", value=1);
    };"""
    said = policy.set_policy(world, mine, "sevsnpvm", upload(text))
    assert said == {
        "x-ms-policy-result": "Updated",
        "x-ms-policy-token-hash": b64url(hashlib.sha256(upload(text).encode()).digest()),
    }
    claims = platform(app, vm, MINE)
    assert claims["iss"] == f"https://{MINE}"
    assert claims["x-ms-policy-hash"] == hashed(text)
    assert claims["x-ms-policy"] == {
        "svn": claims["x-ms-sevsnpvm-guestsvn"],
        "vm": vm.vm_id.upper(),
        "both": [1, True],
        "exp": 1,
    }
    assert claims["exp"] == claims["iat"] + 28800  # what a policy issues does not stand in for the service's own
    assert "x-ms-policy-signer" not in claims
    assert platform(app, vm)["x-ms-policy-hash"] != hashed(text)  # another provider has its own


def test_a_policy_that_does_not_permit_refuses(
    world: World, app: ASGIApp, vm: Attester, mine: providers.Provider
) -> None:
    rules = '[type=="x-ms-sevsnpvm-vmpl", value==0] && [type=="x-ms-sevsnpvm-is-debuggable", value==false] => deny();'
    policy.set_policy(world, mine, "sevsnpvm", upload(f"version= 1.0; authorizationrules {{ {rules} => permit(); }};"))
    error = attest(app, "SevSnpVm", vm.platform_body(), MINE).json()["error"]
    assert error["code"] == "PolicyEvaluationError"
    assert "A Deny claim was issued, authorization failed." in error["message"]
    assert [(detail["target"], detail["value"]) for detail in error["innererror"]["details"]] == [
        ("x-ms-sevsnpvm-vmpl", "0"),
        ("x-ms-sevsnpvm-is-debuggable", "false"),
    ]
    policy.set_policy(world, mine, "sevsnpvm", upload("version= 1.0; authorizationrules { };"))
    answer = attest(app, "SevSnpVm", vm.platform_body(), MINE)
    assert (answer.status, answer.json()["error"]["code"]) == (400, "PolicyEvaluationError")
    assert "innererror" not in answer.json()["error"]
    policy.reset_policy(world, mine, "sevsnpvm", f"{UNSIGNED}..")
    assert platform(app, vm, MINE)["x-ms-policy-hash"] == "9NY0VnTQ-IiBriBplVUpFbczcDaEBUwsiFYAzHu_gco"


def test_a_relaxed_policy_lets_a_guest_without_secure_boot_through(
    world: World, app: ASGIApp, vm: Attester, mine: providers.Provider
) -> None:
    """What people make a provider of their own for (constellation and others)."""
    vm.secure_boot = False
    body = vm.body()
    error = attest(app, "AzureGuest", body).json()["error"]
    assert error["code"] == "PolicyEvaluationError"
    assert {"code": "PolicyFailureClaim", "target": "secureboot", "value": "false"} in error["innererror"]["details"]
    relaxed = policy.AZURE_GUEST_TEXT.replace('    [type=="secureboot", value==false] => deny();\n', "")
    policy.set_policy(world, mine, "azureguest", upload(relaxed))
    assert attest(app, "AzureGuest", body, MINE).status == 200


def test_a_policy_that_cannot_be_evaluated_refuses(
    world: World, app: ASGIApp, vm: Attester, mine: providers.Provider
) -> None:
    rule = 'c:[type=="x-ms-sevsnpvm-vmpl"] => issue(type="a", value=NegateBool(c.value));'
    text = f"version= 1.2; authorizationrules {{ => permit(); }}; issuancerules {{ {rule} }};"
    policy.set_policy(world, mine, "sevsnpvm", upload(text))
    error = attest(app, "SevSnpVm", vm.platform_body(), MINE).json()["error"]
    assert error["code"] == "PolicyEvaluationError"
    assert "argument 1 of NegateBool" in error["message"]


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_draft_is_tried_for_a_token_that_nobody_signs(app: ASGIApp, vm: Attester, wrapped: bool) -> None:
    text = 'version= 1.0; authorizationrules { => permit(); }; issuancerules { => issue(type="tried", value=true); };'
    body = {**vm.platform_body(), "draftPolicyForAttestation": upload(text) if wrapped else text}
    answer = attest(app, "SevSnpVm", body)
    header, claims, signature = parts(answer.json()["token"])
    assert (header["alg"], signature) == ("none", "")
    assert claims["x-ms-policy"] == {"tried": True}
    assert claims["x-ms-policy-hash"] == hashed(text)


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("version=1.0\n[", "PolicyParsingError", "Line: '2', Column: '1'"),
        (upload("version=1.0\n["), "PolicyParsingError", "mismatched input '[' expecting ';'"),
        ("version=1.0;authorizationrules{=>deny();};", "PolicyEvaluationError", "A Deny claim was issued"),
        ("eyJ", "InvalidOperation", "Could not find first period in the token."),
    ],
)
def test_a_draft_that_does_not_do(app: ASGIApp, vm: Attester, text: str, code: str, words: str) -> None:
    error = attest(app, "SevSnpVm", {**vm.platform_body(), "draftPolicyForAttestation": text}).json()["error"]
    assert error["code"] == code
    assert words in error["message"]


def test_a_draft_does_not_stand_in_for_the_checks_of_evidence(app: ASGIApp, vm: Attester) -> None:
    vm.set["RunTimeData"] = b'{"keys":[]}'
    draft = {"draftPolicyForAttestation": "version= 1.0; authorizationrules { => permit(); };"}
    error = attest(app, "SevSnpVm", {**vm.platform_body(), **draft}).json()["error"]
    assert error["code"] == "InvalidParameter"


def test_a_fault_is_a_policy_that_denies(world: World, app: ASGIApp, vm: Attester) -> None:
    from skrkit.sandbox.faults.table import fault_named

    fault = fault_named("evidence.maa-policy")
    world.faults.switch_on(world, fault)
    try:
        answer = attest(app, "AzureGuest", vm.body())
        assert answer.json()["error"]["code"] == "PolicyEvaluationError"
        assert "innererror" not in answer.json()["error"]
    finally:
        world.faults.switch_off(world, fault)
    assert attest(app, "AzureGuest", vm.body()).status == 200


# --- TDX -----------------------------------------------------------------------------------------------------


def quote(version: int = 4, tee: int = 0x81) -> bytes:
    """The head of a TD quote (Intel's DCAP quoting library, v4), with room for the rest."""
    return struct.pack("<HHI", version, 2, tee) + bytes(5000)


def test_tdx_evidence_is_refused_by_its_name(app: ASGIApp, vm: Attester) -> None:
    body = {"quote": b64url(quote()), "runtimeData": {"data": b64url(b"{}"), "dataType": "JSON"}}
    error = attest(app, "TdxVm", body).json()["error"]
    assert error["code"] == "InvalidParameter"
    assert "an Intel TDX quote (version 4, TEE type 0x81)" in error["message"]
    error = attest(app, "TdxVm", {"quote": b64url(vm.report())}).json()["error"]
    assert "no Intel TDX quote: its 1184 bytes are something else" in error["message"]
    vm.set["SnpReport"] = quote()
    for kind, made in (("SevSnpVm", vm.platform_body()), ("AzureGuest", vm.body())):
        error = attest(app, kind, made).json()["error"]
        assert "SnpReport is an Intel TDX quote" in error["message"]
    vm.set["IsolationInfo"] = {"Type": "Tdx", "Evidence": {"Proof": b64(quote()), "RunTimeData": ""}}
    assert "Intel TDX" in attest(app, "AzureGuest", vm.body()).json()["error"]["message"]


def test_a_real_td_report_is_recognised(app: ASGIApp, vm: Attester) -> None:
    folder = CAPTURES / "azure-tdx-hcl"
    if not folder.is_dir():
        pytest.skip(f"no captures at {CAPTURES}: Azure's TDX report is not looked at")
    blob = max(folder.glob("*.bin"), key=lambda file: file.stat().st_size).read_bytes()
    vm.set["SnpReport"] = blob[0x20 : 0x20 + 1024]  # of an HCL blob of report type 4
    error = attest(app, "SevSnpVm", vm.platform_body()).json()["error"]
    assert "SnpReport is an Intel TDX TDREPORT" in error["message"]
