"""What services say, to the letter as documents, recorded traffic and issues have it, and the cause of each."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from skrkit.diagnosis.case import Case, Exchange
from skrkit.diagnosis.explain import explain
from skrkit.diagnosis.refusal import KEY_READ
from skrkit.wire import Json

VAULT = "https://contoso.vault.azure.net"
RELEASE = f"{VAULT}/keys/payroll/0123456789abcdef0123456789abcdef/release?api-version=7.4"
MAA = "https://sharedweu.weu.attest.azure.net/attest/AzureGuest?api-version=2020-10-01"
TOKEN = "http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Fvault.azure.net"
THIM = "http://169.254.169.254/metadata/THIM/amd/certification"
OID = "11111111-2222-3333-4444-555555555555"
CALLER = f"appid=99999999-2222-3333-4444-555555555555;oid={OID};iss=https://sts.windows.net/72f988bf-86f1-41af-91ab-2d7cd011db47/"
NO_PERMISSION = (
    f"The user, group or application '{CALLER}' does not have keys {{}} permission on key vault "
    "'contoso;location=westeurope'. For help resolving this issue, please see "
    "https://go.microsoft.com/fwlink/?linkid=2125287"
)
RBAC = (
    "Caller is not authorized to perform action on resource.\r\nIf role assignments, deny assignments or role "
    f"definitions were changed recently, please observe propagation time.\r\nCaller: {CALLER}\r\nAction: "
    "'Microsoft.KeyVault/vaults/keys/release/action'\r\nResource: '/subscriptions/s/resourcegroups/r/providers/"
    "microsoft.keyvault/vaults/contoso/keys/payroll'\r\nAssignment: (not found)\r\nDenyAssignmentId: null\r\n"
    "DecisionReason: null \r\nVault: contoso;location=westeurope\r\n"
)
CANNOT = "Target environment attestation statement cannot be verified."
DOES_NOT = "Target environment attestation does not meet key release policy requirements."
NOT_FOUND = (
    "A key with (name/id) {} was not found in this key vault. If you recently deleted this key you may be able to "
    "recover it using the correct recovery command. For help resolving this issue, please see "
    "https://go.microsoft.com/fwlink/?linkid=2125182"
)


def body(code: str, message: str, inner: str = "") -> dict[str, Json]:
    error: dict[str, Json] = {"code": code, "message": message}
    if inner:
        error["innererror"] = {"code": inner}
    return {"error": error}


def case_of(status: int, answer: Json, url: str = RELEASE, **more: Any) -> Case:
    exchange = Exchange(service="", method="POST", url=url, status=status, response_body=answer)
    return Case(exchanges=(exchange,), **more)


def first(case: Case) -> tuple[str, str]:
    found = explain(case).findings
    return (found[0].cause.id, found[0].certainty) if found else ("", "")


# Status, body, the cause that is named first, and how sure that is by the answer alone.
SAID: list[tuple[int, Json, str, str]] = [
    (
        401,
        body("Unauthorized", "AKV10000: Request is missing a Bearer or PoP token."),
        "access-token.missing",
        "likely",
    ),
    (
        401,
        body(
            "Unauthorized",
            "AKV10022: Invalid audience. Expected https://vault.azure.net, found: https://management.azure.com/.",
        ),
        "access-token.wrong-audience",
        "likely",
    ),
    (
        401,
        body(
            "Unauthorized",
            "AKV10032: Invalid issuer. Expected one of https://sts.windows.net/72f988bf-86f1-41af-91ab-2d7cd011db47/, "
            "found https://sts.windows.net/f8cdef31-a31e-4b4a-93e4-5f571e91255a/.",
        ),
        "access-token.wrong-tenant",
        "likely",
    ),
    (401, body("Unauthorized", "[TokenExpired] Error validating token: 'S2S12086'."), "access-token.expired", "likely"),
    (401, body("Unauthorized", "Error validating token: IDX10223"), "access-token.expired", "likely"),
    (
        401,
        body("Unauthorized", "AKV10046: Unable to resolve the key used for signature validation"),
        "access-token.unknown-key",
        "likely",
    ),
    (403, body("Forbidden", NO_PERMISSION.format("release"), "AccessDenied"), "access.release-missing", "likely"),
    (403, body("Forbidden", NO_PERMISSION.format("release"), "ForbiddenByPolicy"), "access.release-missing", "likely"),
    (403, body("Forbidden", NO_PERMISSION.format("get"), "AccessDenied"), "access.get-missing", "likely"),
    (403, body("Forbidden", RBAC, "ForbiddenByRbac"), "access.role-missing", "likely"),
    (
        403,
        body(
            "Forbidden",
            "Client address is not authorized and caller is not a trusted service.\r\nClient address: 203.0.113.7\r\n"
            f"Caller: {CALLER}\r\nVault: contoso;location=westeurope",
            "ForbiddenByFirewall",
        ),
        "access.firewall-address",
        "likely",
    ),
    (
        403,
        body(
            "Forbidden",
            "Connection is not an approved private link and caller was ignored because bypass is not set to "
            "'AzureServices' and PublicNetworkAccess is set to 'Disabled'.",
            "ForbiddenByConnection",
        ),
        "access.private-only",
        "likely",
    ),
    (
        403,
        body(
            "Forbidden",
            "Public network access is disabled and request is not from a trusted service nor via an approved "
            "private link.",
        ),
        "access.private-only",
        "likely",
    ),
    (
        403,
        body(
            "AccessDenied",
            "Not authorized to access Microsoft.KeyVault/managedHsm/keys/release/action on /keys/payroll "
            "(Activity ID: x)",
        ),
        "access.hsm-local-role",
        "likely",
    ),
    (
        403,
        body("Forbidden", "Operation release is not allowed on a disabled key.", "KeyDisabled"),
        "key.disabled",
        "likely",
    ),
    (
        403,
        body("Forbidden", "Operation release is not permitted on this key.", "KeyOperationForbidden"),
        "key.not-exportable",
        "likely",
    ),
    (
        403,
        body("Forbidden", "Operation sign is not permitted on this key.", "KeyOperationForbidden"),
        "key.not-released",
        "possible",
    ),
    (403, body("Forbidden", "Hardware key operation not allowed on standard vault"), "key.standard-vault", "likely"),
    (
        403,
        body("Forbidden", 'Operation "purge" is not allowed because purge protection is enabled for this vault.'),
        "key.purge-protected",
        "likely",
    ),
    (404, body("KeyNotFound", NOT_FOUND.format("payroll")), "key.not-found", "likely"),
    (404, body("KeyNotFound", NOT_FOUND.format("payroll/abc")), "key.wrong-version", "likely"),
    (
        409,
        body(
            "Conflict",
            "Key payroll is currently in a deleted but recoverable state, and its name cannot be reused; in this "
            "state, the key can only be recovered or purged.",
            "ObjectIsDeletedButRecoverable",
        ),
        "key.name-reserved",
        "likely",
    ),
    (
        400,
        body(
            "BadParameter",
            "AKV.SKR.1001: The exportable attribute is only supported with premium vaults and API version >= "
            "'7.3-preview'.",
        ),
        "key.standard-vault",
        "likely",
    ),
    (400, body("BadParameter", "AKV.SKR.1004: Exportable keys must have release policy."), "key.no-policy", "likely"),
    (
        400,
        body("BadParameter", "AKV.SKR.1005: Non-exportable keys must not have release policy."),
        "key.policy-without-exportable",
        "likely",
    ),
    (
        400,
        body(
            "BadParameter", "AKV.SKR.1013: Malformed Key Release Policy - Unable to Json Deserialize the policy object."
        ),
        "key.policy-encoding",
        "likely",
    ),
    (
        400,
        body("BadParameter", "AKV.SKR.1014: Cannot modify the exportable state of a key."),
        "key.exportable-fixed",
        "likely",
    ),
    (
        400,
        body("BadParameter", "AKV.SKR.1020: Immutable Key Release Policy cannot be modified."),
        "key.policy-immutable",
        "likely",
    ),
    (
        400,
        body("BadParameter", "Key Release Policy: missing 'version' property (Activity ID: x)"),
        "key.policy-version-missing",
        "likely",
    ),
    (
        400,
        body("BadParameter", "Non-exportable keys must not have release policy (Activity ID: x)"),
        "key.policy-without-exportable",
        "likely",
    ),
    (
        429,
        body(
            "Throttled",
            "Request was not processed because too many requests were received. Reason: VaultRequestTypeLimitReached",
        ),
        "network.vault-throttled",
        "likely",
    ),
    (503, body("ServiceUnavailable", "busy"), "network.vault-unavailable", "likely"),
    (403, body("Forbidden", CANNOT, "AccessDenied"), "token.expired", "possible"),
    (403, body("Forbidden", DOES_NOT, "AccessDenied"), "policy.missing-prefix", "possible"),
]


@pytest.mark.parametrize(
    ("status", "answer", "cause", "certainty"), SAID, ids=lambda value: value if isinstance(value, str) else ""
)
def test_key_vault_is_understood(status: int, answer: Json, cause: str, certainty: str) -> None:
    assert first(case_of(status, answer)) == (cause, certainty)


@pytest.mark.parametrize(
    ("status", "answer", "url", "cause"),
    [
        (400, {"error": "invalid_request", "error_description": "Identity not found"}, TOKEN, "identity.none"),
        (
            400,
            {"error": "invalid_request", "error_description": "Identity not found"},
            f"{TOKEN}&client_id=a-b",
            "identity.wrong-selector",
        ),
        (
            400,
            {
                "error": "invalid_request",
                "error_description": "Multiple user assigned identities exist, please specify the clientId / "
                "resourceId of the identity in the token request",
            },
            TOKEN,
            "identity.several",
        ),
        (400, {"error": "Bad request: . Required metadata header not specified"}, TOKEN, "identity.imds-header"),
        (400, {"error": "invalid_resource", "error_description": "AADSTS50001: x"}, TOKEN, "identity.invalid-resource"),
        (
            400,
            {
                "error": "Bad request. api-version is invalid or was not specified in the request. For more "
                "information refer to aka.ms/azureimds"
            },
            TOKEN,
            "identity.imds-format",
        ),
        (403, "<html>Access denied by policy</html>", TOKEN, "identity.imds-proxied"),
        (429, None, TOKEN, "identity.imds-throttled"),
        (410, None, TOKEN, "identity.imds-down"),
        (500, {"error": "unknown"}, TOKEN, "identity.imds-down"),
        (404, None, THIM, "network.thim-unavailable"),
        (429, None, MAA, "network.maa-throttled"),
        (503, None, MAA, "network.maa-unavailable"),
        (
            400,
            {
                "error": {
                    "code": "PolicyEvaluationError",
                    "message": "Native operation failed with 65518: G:PolicyEvaluationError: A Deny claim was issued, "
                    "authorization failed.",
                    "innererror": {
                        "code": "PolicyValidationFailure",
                        "details": [
                            {"code": "PolicyFailureClaim", "target": "x-ms-azurevm-dbxvalidated", "value": "false"}
                        ],
                    },
                }
            },
            MAA,
            "evidence.dbx-not-validated",
        ),
        (
            400,
            body("PolicyEvaluationError", "A Deny claim was issued, authorization failed."),
            MAA,
            "evidence.maa-policy",
        ),
        (400, body("PolicyParsingError", "line 3, column 14"), MAA, "evidence.maa-policy-syntax"),
        (404, None, "https://kdsintf.amd.com/vcek/v1/Milan/00", ""),
        (
            403,
            body(
                "AuthorizationFailed",
                "The client 'x' with object id 'y' does not have authorization to perform action "
                "'Microsoft.KeyVault/vaults/accessPolicies/write' over scope '/subscriptions/s' or it is invalid.",
            ),
            "https://management.azure.com/subscriptions/s/x",
            "access.operator-role",
        ),
        (
            409,
            body(
                "OperationNotAllowed",
                "Operation could not be completed as it results in exceeding approved standardDCASv5 Family Cores "
                "quota.",
            ),
            "https://management.azure.com/subscriptions/s/x",
            "machine.quota",
        ),
        (429, None, "https://kdsintf.amd.com/vcek/v1/Milan/00", "network.kds"),
        (407, "<html>Proxy Authentication Required</html>", RELEASE, "network.proxied"),
        (404, "<html>no</html>", f"{VAULT}/keys/payroll//release", "network.double-slash"),
        (401, None, "https://pool.managedhsm.azure.net/keys/k/release", "access-token.hsm-empty-401"),
    ],
)
def test_the_other_services_are_understood(status: int, answer: Json, url: str, cause: str) -> None:
    assert first(case_of(status, answer, url))[0] == cause


@pytest.mark.parametrize(
    ("error", "url", "cause"),
    [
        (
            "ServiceRequestError: Failed to resolve 'contoso.vault.azure.net' ([Errno -2] Name or service not known)",
            RELEASE,
            "network.vault-name",
        ),
        ("dial tcp: lookup contoso.vault.azure.net: no such host", RELEASE, "network.vault-name"),
        ("curl: (6) Could not resolve host: sharedweq.weq.attest.azure.net", MAA, "network.maa-name"),
        ("[Errno 111] Connection refused", RELEASE, "network.vault-unreachable"),
        ("dial tcp 10.0.0.4:443: i/o timeout", MAA, "network.maa-unreachable"),
        ("SSL: CERTIFICATE_VERIFY_FAILED: self-signed certificate in certificate chain", RELEASE, "network.vault-tls"),
        ("tls: failed to verify certificate: x509: certificate signed by unknown authority", MAA, "network.maa-tls"),
        ("CERTIFICATE_VERIFY_FAILED: certificate is not yet valid", RELEASE, "machine.clock-skew"),
        ("Problem with the SSL CA cert (path? access rights?)", MAA, "network.ca-bundle"),
        ("Connection to 169.254.169.254 timed out", TOKEN, "identity.imds-down"),
    ],
)  # fmt: skip
def test_no_answer_is_understood(error: str, url: str, cause: str) -> None:
    exchange = Exchange(service="", method="POST", url=url, status=0, error=error)
    assert first(Case(exchanges=(exchange,))) == (cause, "likely")


VAULT_RECORD: dict[str, Json] = {
    "name": "contoso",
    "id": "/subscriptions/s/resourceGroups/hr/providers/Microsoft.KeyVault/vaults/contoso",
    "properties": {"accessPolicies": [{"objectId": OID, "permissions": {"keys": ["get"]}}]},
}


def vault_with(**properties: Json) -> dict[str, Json]:
    record = dict(VAULT_RECORD)
    before = record["properties"]
    assert isinstance(before, dict)
    return record | {"properties": before | properties}


GRANT: Json = [{"objectId": OID, "permissions": {"keys": ["Release"]}}]
OTHER_GRANT: Json = [{"objectId": "aaaaaaaa-2222-3333-4444-555555555555", "permissions": {"keys": ["release"]}}]
PERMISSION = body("Forbidden", NO_PERMISSION.format("release"), "AccessDenied")


@pytest.mark.parametrize(
    ("answer", "more", "cause"),
    [
        (PERMISSION, {"vault": VAULT_RECORD}, "access.release-missing"),
        (PERMISSION, {"vault": vault_with(accessPolicies=GRANT)}, "access.not-propagated"),
        (
            PERMISSION,
            {"vault": vault_with(accessPolicies=OTHER_GRANT), "vm": {"identity": {"principalId": OID}}},
            "access.stale-object-id",
        ),
        (
            body("Forbidden", RBAC, "ForbiddenByRbac"),
            {"vault": vault_with(accessPolicies=GRANT, enableRbacAuthorization=True)},
            "access.rbac-mode",
        ),
        (
            body("Forbidden", "Operation release is not allowed on a disabled key.", "KeyDisabled"),
            {"key": {"attributes": {"enabled": False}}},
            "key.disabled",
        ),
        (
            body("Forbidden", "Operation release is not permitted on this key.", "KeyOperationForbidden"),
            {"key": {"attributes": {"exportable": False, "enabled": True}}},
            "key.not-exportable",
        ),
        (
            body("KeyNotFound", NOT_FOUND.format("payroll")),
            {"key": {"recoveryId": "https://x/deletedkeys/payroll"}},
            "key.deleted",
        ),
        (
            body("KeyNotFound", NOT_FOUND.format("payroll/abc")),
            {"key": {"key": {"kid": f"{VAULT}/keys/payroll/def"}}},
            "key.wrong-version",
        ),
        (
            body("Unauthorized", "AKV10022: Invalid audience. Expected https://vault.azure.net, found: https://x."),
            {"access_token": {"aud": "https://management.azure.com"}},
            "access-token.wrong-audience",
        ),
        (
            body("Unauthorized", "AKV10000: Request is missing a Bearer or PoP token."),
            {},
            "access-token.missing",
        ),
    ],
)  # fmt: skip
def test_the_rest_of_the_case_proves_it(answer: Json, more: dict[str, Any], cause: str) -> None:
    status = {"KeyNotFound": 404, "Unauthorized": 401}.get(str(answer["error"]["code"]), 403)  # type: ignore[index,call-overload]
    case = case_of(status, answer, **more)
    assert first(case) == (cause, "proved" if more else "likely")


def test_a_command_is_in_the_names_of_the_case() -> None:
    finding = explain(case_of(403, PERMISSION, vault=VAULT_RECORD)).findings[0]
    # The command sets them all: what the identity has already stays.
    assert finding.command == f"az keyvault set-policy --name contoso --object-id {OID} --key-permissions get release"


def test_in_the_sandbox_a_command_of_skrkit_mends_what_a_fault_made_and_azures_the_rest() -> None:
    by_hand = case_of(403, PERMISSION, vault=VAULT_RECORD, world="sandbox", faults=("key.disabled",))
    assert explain(by_hand).findings[0].command.startswith("az keyvault set-policy --name contoso ")
    by_fault = replace(by_hand, faults=("access.release-missing", "key.disabled"))
    assert explain(by_fault).findings[0].command == "skrkit walkthrough --step 2"


@pytest.mark.parametrize("name", ["x; rm -rf ~", "$(id)", "a b", "`id`", "x\nid", "'", ""])
def test_a_name_that_a_shell_would_read_never_reaches_a_command(name: str) -> None:
    finding = explain(case_of(403, PERMISSION, vault={"name": name, "properties": {"accessPolicies": []}})).findings[0]
    assert finding.command.startswith(
        ("az keyvault set-policy --name VAULT ", "az keyvault set-policy --name contoso ")
    )


def test_the_first_that_fails_is_named_before_what_would_fail_next() -> None:
    key: dict[str, Json] = {"attributes": {"enabled": False}}
    found = explain(case_of(403, PERMISSION, vault=VAULT_RECORD, key=key)).findings
    assert [finding.cause.id for finding in found] == ["access.release-missing", "key.disabled"]


def test_nothing_refused_and_nothing_known() -> None:
    explanation = explain(Case())
    assert (explanation.refusal, explanation.findings) == ("", ())
    assert any("--response" in text for text in explanation.unknown)


def test_what_is_not_recognised_is_not_explained() -> None:
    explanation = explain(case_of(418, body("Teapot", "short and stout")))
    assert explanation.findings == ()
    assert explanation.refusal == "HTTP 418 Teapot: short and stout"
    assert explanation.unknown


def test_a_proxy_that_repeats_the_services_words_is_not_believed_for_certain() -> None:
    assert first(case_of(403, f"<html>{CANNOT}</html>"))[1] != "proved"


def test_an_error_of_skrkit_alone_is_enough() -> None:
    error: dict[str, Json] = {
        "error": "ReleaseRefused",
        "what": "release of key payroll",
        "where": f"POST {VAULT}/keys/payroll//release",
        "expected": "the key",
        "found": "HTTP 403 Forbidden/KeyDisabled: Operation release is not allowed on a disabled key.",
        "fix": "",
    }
    explanation = explain(Case(error=error))
    assert explanation.findings[0].cause.id == "key.disabled"
    assert explanation.refusal.startswith("HTTP 403 Forbidden/KeyDisabled: ")
    assert "--name payroll" in explanation.findings[0].command


def test_a_key_that_could_not_be_read_is_said_to_be_why_its_policy_is_not_known() -> None:
    message = "Target environment attestation does not meet key release policy requirements."
    unread: dict[str, Json] = {"what": "key k", "found": "HTTP 403 Forbidden/AccessDenied: no keys get permission"}
    (wanted,) = (text for text in explain(case_of(403, message, machine={KEY_READ: unread})).unknown if "polic" in text)
    assert wanted.endswith("to read the key was refused: skrkit explain access.get-missing.")
    (plain,) = (text for text in explain(case_of(403, message)).unknown if "polic" in text)
    assert plain == "The key's release policy (--policy)."
