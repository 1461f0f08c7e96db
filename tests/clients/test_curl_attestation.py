"""An attestation provider of one's own by curl alone: made, given a policy, asked for a token by the VM, deleted."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest

from skrkit.cloud import Cloud
from skrkit.sandbox.endpoint import Endpoint
from skrkit.services import attester
from skrkit.services.maa import platform_request
from tests.clients.test_curl import Curl, claims_of
from tests.sandbox.running import ARM, IMDS, STAGE, group_url

POLICY = """version= 1.0;
authorizationrules { [type=="x-ms-compliance-status", value=="azure-compliant-cvm"] => permit(); };
issuancerules { => issue(type="reviewed-by", value="me"); };"""


def b64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def test_a_provider_of_ones_own(sandbox: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    outside, inside = Curl(sandbox), Curl(sandbox, STAGE.vm)
    resource = (
        f"{group_url(sandbox)}/providers/Microsoft.Attestation/attestationProviders/bycurl?api-version=2021-06-01"
    )
    arm = outside.operator(ARM)
    made = outside.ok("PUT", resource, {"location": "westeurope", "properties": {}}, arm)
    url = made["properties"]["attestUri"]
    assert url == "https://bycurl.weu.attest.azure.net"

    bearer = outside.operator("https://attest.azure.net")
    upload = f"eyJhbGciOiJub25lIn0.{b64url(json.dumps({'AttestationPolicy': b64url(POLICY.encode())}).encode())}."
    policies = f"{url}/policies/SevSnpVm?api-version=2022-08-01"
    answer = outside.ok("PUT", policies, upload, bearer, "Content-Type: text/plain", form=True)
    said = claims_of(answer["token"])
    assert said["x-ms-policy-result"] == "Updated"
    assert said["x-ms-policy-token-hash"] == b64url(hashlib.sha256(upload.encode()).digest())
    assert claims_of(outside.ok("GET", policies, None, bearer)["token"])["x-ms-policy"] == upload
    assert outside("GET", policies)[0] == 401

    thim = inside.ok("GET", f"{IMDS}/metadata/THIM/amd/certification", None, "Metadata: true")
    monkeypatch.setattr(attester, "fetch_thim_certificates", lambda _cloud: thim)
    with attester.Attester(Cloud.sandbox(home=sandbox.home).enter(STAGE.vm)) as source:
        body: dict[str, Any] = platform_request(source.collect(user_data=bytes(64)), "a nonce")
    claims = claims_of(inside.ok("POST", f"{url}/attest/SevSnpVm?api-version=2022-08-01", body)["token"])
    assert (claims["iss"], claims["nonce"]) == (url, "a nonce")
    assert claims["x-ms-policy"] == {"reviewed-by": "me"}
    assert claims["x-ms-policy-hash"] == b64url(hashlib.sha256(b64url(POLICY.encode()).encode()).digest())

    assert outside("DELETE", resource, None, arm)[0] == 200
    assert outside("GET", f"{url}/certs")[0] == 404
