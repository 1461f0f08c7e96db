"""Microsoft Graph through the door: who is behind a name or an id, in Graph's own shapes, and who may ask."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import jwt
import pytest

from skrkit.sandbox.endpoint import Endpoint
from tests.sandbox.running import ARM, IMDS, STAGE, Answer, bearer, group_url, operator_token, send

GRAPH = "https://graph.microsoft.com"
NOBODY = "00000000-0000-4000-8000-000000000000"


@pytest.fixture(scope="module")
def identity(sandbox: Endpoint) -> dict[str, Any]:
    """A user-assigned identity, as Resource Manager shows it."""
    url = f"{group_url(sandbox)}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/looked-up"
    token = bearer(operator_token(sandbox, ARM))
    body = {"location": "westeurope"}
    made = send(sandbox, "PUT", f"{url}?api-version=2024-11-30", body, Authorization=token)
    assert made.status in (200, 201)
    return dict(made.json())


def ask(sandbox: Endpoint, path: str, body: Any = None, *, token: str = "") -> Answer:
    authorization = bearer(token or operator_token(sandbox, GRAPH))
    return send(sandbox, "POST" if body else "GET", f"{GRAPH}{path}", body, Authorization=authorization)


def found(sandbox: Endpoint, expression: str) -> list[str]:
    answer = ask(sandbox, f"/v1.0/servicePrincipals?$filter={quote(expression)}")
    assert answer.status == 200, answer.body
    return [each["id"] for each in answer.json()["value"]]


def test_a_service_principal_is_found_by_each_of_its_names(sandbox: Endpoint, identity: dict[str, Any]) -> None:
    oid, client = identity["properties"]["principalId"], identity["properties"]["clientId"]
    for expression in (
        f"servicePrincipalNames/any(c:c eq '{client}')",  # as the Azure CLI asks for an assignee
        f"appId eq '{client.upper()}'",
        f"id eq '{oid}'",
        "displayName eq 'looked-up'",
        "startswith(displayName,'looked') and servicePrincipalType eq 'ManagedIdentity'",
    ):
        assert found(sandbox, expression) == [oid], expression
    assert found(sandbox, f"appId eq '{NOBODY}'") == []
    assert found(sandbox, f"servicePrincipalNames/any(c:c eq '{oid}')") == []


def test_what_is_shown_of_an_identity_and_of_the_operator(sandbox: Endpoint, identity: dict[str, Any]) -> None:
    oid, client = identity["properties"]["principalId"], identity["properties"]["clientId"]
    for path in (f"/v1.0/servicePrincipals/{oid}", f"/beta/servicePrincipals(appId='{client}')"):
        shown = ask(sandbox, path).json()
        assert (shown["id"], shown["appId"], shown["servicePrincipalType"]) == (oid, client, "ManagedIdentity")
        assert shown["alternativeNames"] == ["isExplicit=True", identity["id"]]
    operator = jwt.decode(operator_token(sandbox), options={"verify_signature": False})
    own = ask(sandbox, f"/v1.0/servicePrincipals/{operator['oid']}").json()
    assert (own["appId"], own["servicePrincipalType"]) == (sandbox.client_id, "Application")
    assert sandbox.client_secret not in str(own)


def test_ids_are_resolved_and_unknown_ones_left_out(sandbox: Endpoint, identity: dict[str, Any]) -> None:
    oid = identity["properties"]["principalId"]
    asked = {"ids": [oid, NOBODY], "types": ["user", "group", "servicePrincipal"]}
    value = ask(sandbox, "/v1.0/directoryObjects/getByIds", asked).json()["value"]
    assert [(each["@odata.type"], each["id"]) for each in value] == [("#microsoft.graph.servicePrincipal", oid)]
    assert ask(sandbox, "/v1.0/directoryObjects/getByIds", {**asked, "types": ["user"]}).json()["value"] == []
    assert ask(sandbox, "/v1.0/directoryObjects/getByIds", {"ids": "x"}).status == 400


@pytest.mark.parametrize(
    ("path", "status", "code", "words"),
    [
        (f"/v1.0/servicePrincipals/{NOBODY}", 404, "Request_ResourceNotFound", f"Resource '{NOBODY}' does not exist"),
        ("/v1.0/servicePrincipals?$filter=tags/any()", 400, "Request_UnsupportedQuery", "tags/any()"),
        ("/v1.0/me", 400, "BadRequest", "/me request is only valid with delegated authentication flow."),
        ("/v3/me", 400, "BadRequest", "Invalid version: v3."),
        ("/v1.0/applications", 501, "NotInSandbox", "GET /applications"),
    ],
)
def test_refusals(sandbox: Endpoint, path: str, status: int, code: str, words: str) -> None:
    answer = ask(sandbox, path)
    error = answer.json()["error"]
    assert (answer.status, error["code"]) == (status, code)
    assert words in error["message"]
    assert set(error["innerError"]) == {"date", "request-id", "client-request-id"}


def test_users_and_groups_are_none(sandbox: Endpoint) -> None:
    for kind in ("users", "groups"):
        assert ask(sandbox, f"/v1.0/{kind}").json()["value"] == []


def test_who_may_ask(sandbox: Endpoint) -> None:
    assert ask(sandbox, "/v1.0/servicePrincipals", token=operator_token(sandbox, ARM)).status == 401
    url = f"{group_url(sandbox)}/providers/Microsoft.Compute/virtualMachines/{STAGE.vm}?api-version=2024-07-01"
    own = {"identity": {"type": "SystemAssigned"}}
    assert send(sandbox, "PATCH", url, own, Authorization=bearer(operator_token(sandbox, ARM))).status == 200
    asked = f"{IMDS}/metadata/identity/oauth2/token?api-version=2018-02-01&resource={GRAPH}"
    token = send(sandbox, "GET", asked, Metadata="true", port=sandbox.vm(STAGE.vm).proxy_port).json()["access_token"]
    answer = ask(sandbox, "/v1.0/servicePrincipals", token=token)
    assert (answer.status, answer.json()["error"]["code"]) == (403, "Authorization_RequestDenied")
    assert answer.json()["error"]["message"] == "Insufficient privileges to complete the operation."


def test_lists_that_the_azure_cli_asks_resource_manager_for(sandbox: Endpoint, identity: dict[str, Any]) -> None:
    token = bearer(operator_token(sandbox, ARM))
    base = f"{ARM}/subscriptions/{sandbox.subscription}"

    def listed(path: str, expression: str = "") -> Any:
        more = f"&$filter={quote(expression)}" if expression else ""
        return send(sandbox, "GET", f"{path}?api-version=2022-12-01{more}", Authorization=token).json()

    assert [each["tenantId"] for each in listed(f"{ARM}/tenants")["value"]] == [sandbox.tenant]
    assert "westeurope" in [each["name"] for each in listed(f"{base}/locations")["value"]]
    providers = {each["namespace"]: each["resourceTypes"] for each in listed(f"{base}/providers")["value"]}
    assert "vaults" in [each["resourceType"] for each in providers["Microsoft.KeyVault"]]
    kind = "Microsoft.ManagedIdentity/userAssignedIdentities"
    for expression in (
        f"resourceType eq '{kind}' and name eq 'Looked-Up'",
        f"resourceGroup eq '{STAGE.resource_group}' and resourceType eq '{kind}' and location eq 'westeurope'",
    ):
        found = listed(f"{base}/resources", expression)["value"]
        assert identity["id"] in [each["id"] for each in found]
        assert {each["type"] for each in found} == {kind}
    assert listed(f"{base}/resources", f"resourceType eq '{kind}' and name eq 'another'")["value"] == []
    refused = listed(f"{base}/resources", "tagName eq 'a'")["error"]
    assert (refused["code"], "tagName eq 'a'" in refused["message"]) == ("NotInSandbox", True)
