"""Resource providers: all that the sandbox has are registered, and each says its types, with an api-version of each."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import JSONResponse, Response

from skrkit.sandbox.arm import errors
from skrkit.sandbox.arm.call import Call, Handler
from skrkit.sandbox.store import Document

# Type to the api-version that Azure's own client of 2026 asks with; the sandbox takes any other as well.
TYPES: Mapping[str, Mapping[str, str]] = {
    "Microsoft.Attestation": {"attestationProviders": "2021-06-01"},
    "Microsoft.Authorization": {"roleAssignments": "2022-04-01", "roleDefinitions": "2022-04-01"},
    "Microsoft.Compute": {
        "disks": "2026-03-02", "virtualMachines": "2026-04-01", "virtualMachines/runCommands": "2026-04-01",
    },
    "Microsoft.KeyVault": {
        "vaults": "2026-05-15", "vaults/keys": "2026-05-15", "managedHSMs": "2026-05-15", "deletedVaults": "2026-05-15",
    },
    "Microsoft.ManagedIdentity": {"userAssignedIdentities": "2024-11-30"},
    "Microsoft.Network": {
        "virtualNetworks": "2026-03-01", "networkSecurityGroups": "2026-03-01", "publicIPAddresses": "2026-03-01",
        "networkInterfaces": "2026-03-01",
    },
    "Microsoft.Resources": {"resourceGroups": "2025-04-01", "deployments": "2026-06-01"},
}  # fmt: skip


def get_provider(call: Call) -> Response:
    """Return the provider as registered: the sandbox needs no registration."""
    name = next((known for known in TYPES if known.lower() == call.path["namespace"].lower()), None)
    if name is None:
        raise errors.not_here(f"the resource provider {call.path['namespace']}")
    return JSONResponse(_shown(call, name))


def list_providers(call: Call) -> Response:
    """Return all of them."""
    return JSONResponse({"value": [_shown(call, name) for name in TYPES]})


def _shown(call: Call, name: str) -> Document:
    return {
        "id": f"/subscriptions/{call.world.subscription}/providers/{name}",
        "namespace": name,
        "registrationPolicy": "RegistrationRequired",
        "registrationState": "Registered",
        "resourceTypes": [
            {"resourceType": kind, "locations": [], "apiVersions": [version], "capabilities": "None"}
            for kind, version in TYPES[name].items()
        ],
    }


_READ = "Microsoft.Resources/providers/read"
ROUTES: tuple[tuple[str, str, str, Handler], ...] = (
    ("GET", "/subscriptions/{subscription}/providers", _READ, list_providers),
    ("GET", "/subscriptions/{subscription}/providers/{namespace}", _READ, get_provider),
    ("POST", "/subscriptions/{subscription}/providers/{namespace}/register", "{namespace}/register/action",
     get_provider),
)  # fmt: skip
