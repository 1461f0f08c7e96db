"""The Instance Metadata Service, from inside a VM: THIM's certificates, the instance, an identity's token.

Clients of other services get their tokens by azure-identity; `fetch_token` is for who looks at IMDS itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from skrkit.encoding import json_object, member
from skrkit.errors import UsageError
from skrkit.services.azure_errors import azure_call
from skrkit.services.rest import send_request

if TYPE_CHECKING:
    from skrkit.cloud import Cloud
    from skrkit.wire import Json

THIM_PATH = "/metadata/THIM/amd/certification"  # takes no api-version
TOKEN_API = "2018-02-01"  # noqa: S105 - an api-version


def fetch_thim_certificates(cloud: Cloud) -> dict[str, str]:
    """Return the host's AMD certificates: `vcekCert` (PEM), `certificateChain` (PEM: ASK, ARK), `tcbm` (hex).

    Raises `ServiceError` when IMDS does not answer, `ParseError` when its answer is not what it should be.
    """
    url = cloud.endpoints.imds + THIM_PATH
    with azure_call("THIM certificates"):
        body = send_request(cloud, "GET", url, headers={"Metadata": "true"}, link_local=True)
    answer = json_object(body, what="THIM answer", where=f"GET {url}")
    return {
        name: str(member(answer, name, str, what="THIM answer")) for name in ("vcekCert", "certificateChain", "tcbm")
    }


def fetch_instance(cloud: Cloud) -> dict[str, Json]:
    """Return `/metadata/instance` (api-version 2021-12-13): what the host says this VM is. No evidence of anything."""
    url = f"{cloud.endpoints.imds}/metadata/instance?api-version=2021-12-13"
    with azure_call("IMDS instance"):
        body = send_request(cloud, "GET", url, headers={"Metadata": "true"}, link_local=True)
    return json_object(body, what="IMDS instance", where=f"GET {url}")


def fetch_token(cloud: Cloud, resource: str) -> str:
    """Return an access token for `resource` as IMDS gives it to the cloud's chosen identity: a secret.

    Raises `ServiceError` when IMDS refuses or does not answer, `ParseError` for an answer without a token.
    """
    from urllib.parse import urlencode

    asked = {"api-version": TOKEN_API, "resource": resource, **(cloud.identity.query() if cloud.identity else {})}
    url = f"{cloud.endpoints.imds}/metadata/identity/oauth2/token"
    with azure_call("access token of the VM"):
        body = send_request(cloud, "GET", f"{url}?{urlencode(asked)}", headers={"Metadata": "true"}, link_local=True)
    answer = json_object(body, what="IMDS token", where=f"GET {url}")
    return str(member(answer, "access_token", str, what="IMDS token"))


def check_machine(cloud: Cloud, *, vm: str, resource_group: str) -> None:
    """Return nothing if IMDS says that this machine is that VM. Raises `UsageError` if it is another.

    Guards against mistakes, not against malice: a wrong name would prepare one VM and attest with another.
    """
    compute = fetch_instance(cloud).get("compute")
    facts = compute if isinstance(compute, dict) else {}
    name, group = str(facts.get("name") or ""), str(facts.get("resourceGroupName") or "")
    if (name.lower(), group.lower()) != (vm.lower(), resource_group.lower()):
        raise UsageError(
            what="this machine",
            where="IMDS /compute",
            expected=f"VM {vm} in {resource_group}",
            found=f"VM {name} in {group}",
            fix=f"Run step 4 inside {vm}, or name this VM with --vm and --resource-group.",
        )
