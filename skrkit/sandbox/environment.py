"""The environment that leads any program into the sandbox: proxy, CA bundle, identities, and inside a VM its vTPM."""

from __future__ import annotations

from collections.abc import Mapping

from skrkit.sandbox.endpoint import Endpoint

CA_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS")
PROXY_VARIABLES = ("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy")
OBJECT_ID_VARIABLE = "SKRKIT_OBJECT_ID"  # of who signs in by AZURE_CLIENT_ID, where that is not the operator
OPERATOR_VARIABLES = ("AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", OBJECT_ID_VARIABLE)
INSIDE_VARIABLES = ("TPM2TOOLS_TCTI", "TPM2_PYTSS_TCTI", "SKRKIT_EVENT_LOG", "SKRKIT_VM")
# What would lead a client past the proxy, or past IMDS to another source of identities.
REMOVED = ("NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy", "SSL_CERT_DIR", "IDENTITY_ENDPOINT", "IDENTITY_HEADER",
           "IDENTITY_SERVER_THUMBPRINT", "IMDS_ENDPOINT", "MSI_ENDPOINT", "MSI_SECRET",
           "AZURE_POD_IDENTITY_AUTHORITY_HOST", "AZURE_AUTHORITY_HOST", "AZURE_FEDERATED_TOKEN_FILE",
           "AZURE_REGIONAL_AUTHORITY_NAME", "AZURE_CLIENT_CERTIFICATE_PATH", "AZURE_CLIENT_CERTIFICATE_PASSWORD",
           "AZURE_USERNAME", "AZURE_PASSWORD", "AZURE_TOKEN_CREDENTIALS")  # fmt: skip


def environment_of(endpoint: Endpoint, vm: str | None) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the variables to set and the names to remove, outside (`vm` None, the operator's laptop) or in a VM.

    `vm` is as `Endpoint.vm` takes it. Inside a VM there is no operator secret. Raises `UsageError` for a VM that is not
    there.
    """
    door = endpoint.vm(vm) if vm else None
    proxy = f"http://127.0.0.1:{door.proxy_port}" if door else endpoint.proxy_url
    variables = dict.fromkeys(PROXY_VARIABLES, proxy)
    variables |= dict.fromkeys(CA_VARIABLES, str(endpoint.ca_file))
    variables |= {"AZURE_TENANT_ID": endpoint.tenant, "AZURE_SUBSCRIPTION_ID": endpoint.subscription}
    if door is None:
        variables |= {"AZURE_CLIENT_ID": endpoint.client_id, "AZURE_CLIENT_SECRET": endpoint.client_secret}
        return variables, (*REMOVED, *INSIDE_VARIABLES, OBJECT_ID_VARIABLE)
    variables |= {
        "TPM2TOOLS_TCTI": door.tcti,
        "TPM2_PYTSS_TCTI": door.tcti,
        "SKRKIT_EVENT_LOG": door.event_log,
        "SKRKIT_VM": endpoint.called(door),
    }
    return variables, REMOVED + OPERATOR_VARIABLES


def signed_in_as(endpoint: Endpoint, environ: Mapping[str, str]) -> dict[str, str] | None:
    """Return the variables that sign in as another principal of this sandbox than its operator, or None.

    Somebody's real account in the environment is of another tenant, and is none.
    """
    found = {name: environ.get(name, "") for name in OPERATOR_VARIABLES}
    here = environ.get("AZURE_TENANT_ID", "").lower() == endpoint.tenant
    is_operator = found["AZURE_CLIENT_ID"].lower() == endpoint.client_id
    return found if here and all(found.values()) and not is_operator else None
