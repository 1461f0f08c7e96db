"""Step 1: the confidential VM gets a system-assigned managed identity, and asks IMDS for a token as that identity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from skrkit.artefact import Artefact, Collector, Show
from skrkit.errors import ServiceError, UsageError
from skrkit.services.azure_errors import azure_call

if TYPE_CHECKING:
    from skrkit.cloud import Cloud
    from skrkit.provision.stage import Stage
    from skrkit.services.recording import HttpExchange


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A VM's system-assigned identity. `object_id` is what access is granted to."""

    object_id: str
    tenant_id: str
    artefacts: tuple[Artefact, ...]


def enable(cloud: Cloud, stage: Stage, *, show: Show | None = None) -> Identity:
    """Return the VM's system-assigned identity, switched on if it was off. The caller is the operator.

    Needs Virtual Machine Contributor on the VM. Raises `ServiceError` when Resource Manager refuses.
    """
    from azure.mgmt.compute.models import VirtualMachineUpdate

    from skrkit.services import arm

    made = Collector(1, show)
    with azure_call(f"identity of VM {stage.vm}"), arm.compute(cloud) as compute:
        before = compute.virtual_machines.get(stage.resource_group, stage.vm).as_dict()
        check_confidential(before)
        known = principal_of(before)
        made.add(
            "vm-before",
            "The VM before: its identity is on already" if known else "The VM before: no identity",
            before,
            proves="Resource Manager knows this VM as confidential"
            + (", and gave it an identity before." if known else ", and no one can sign in as it yet."),
            next="Nothing is left to switch on." if known else "Its resource id, to switch the identity on.",
        )
        if not known:
            update = VirtualMachineUpdate({"identity": with_system_assigned(before)})
            compute.virtual_machines.begin_update(stage.resource_group, stage.vm, update).result()
        after = compute.virtual_machines.get(stage.resource_group, stage.vm).as_dict()
    made.add(
        "vm-after",
        "The VM after: an identity of its own",
        after,
        proves="Entra ID made a service principal that lives and dies with this VM; no password exists.",
        next="identity.principalId, which step 2 grants access to.",
        points_at=("identity",),
    )
    object_id = principal_of(after)
    if not object_id:
        raise ServiceError(
            what="identity of the VM",
            where=f"{stage.vm} /identity/principalId",
            expected="an object id",
            found="nothing",
            fix=f"az vm identity assign --resource-group {stage.resource_group} --name {stage.vm}",
        )
    tenant_id = str(after["identity"].get("tenantId", cloud.tenant))
    made.add(
        "identity-object-id",
        "The identity's object id",
        {"principalId": object_id, "tenantId": tenant_id},
        proves="This id, and nothing else, is what Key Vault will look for in its grants.",
        next="The object id goes into the grant of step 2.",
    )
    return Identity(object_id=object_id, tenant_id=tenant_id, artefacts=tuple(made.made))


def check_confidential(vm: dict[str, Any]) -> None:
    """Return nothing if a VM resource is of a confidential VM. Raises `UsageError` for any other."""
    profile = vm.get("properties", {}).get("securityProfile") or {}
    found = str(profile.get("securityType") or "")
    if found.lower() != "confidentialvm":
        raise UsageError(
            what=f"VM {vm.get('name', '')}",
            where="/properties/securityProfile/securityType",
            expected="ConfidentialVM",
            found=found or "nothing: an ordinary VM, which has no evidence to attest with",
            fix="Name a confidential VM (sizes DCas_v5, ECas_v5 and later); the type is chosen when a VM is made.",
        )


def with_system_assigned(vm: dict[str, Any]) -> dict[str, Any]:
    """Return the `identity` to send for a VM: system-assigned added, user-assigned ones kept.

    "SystemAssigned" alone would take every user-assigned identity away.
    """
    others = (vm.get("identity") or {}).get("userAssignedIdentities") or {}
    if not others:
        return {"type": "SystemAssigned"}
    return {"type": "SystemAssigned, UserAssigned", "userAssignedIdentities": {name: {} for name in others}}


def principal_of(vm: dict[str, Any]) -> str:
    """Return the object id of the system-assigned identity in a VM resource, or an empty text."""
    return str((vm.get("identity") or {}).get("principalId") or "")


def request_token(inside: Cloud, *, show: Show | None = None) -> tuple[Artefact, ...]:
    """Return what IMDS gives to a program in the VM: the request as sent, and the access token, decoded.

    The token itself is a secret and becomes no artefact. Raises `ServiceError` when IMDS refuses.
    """
    from azure.core.exceptions import AzureError

    from skrkit.services.azure_errors import first_line
    from skrkit.services.recording import RecordingTransport
    from skrkit.token.decode import decode_jwt

    made = Collector(1, show)
    exchanges: list[HttpExchange] = []
    credential = inside.credential(RecordingTransport(exchanges.append, **inside.transport_options()))
    scope = f"https://{inside.endpoints.vault_suffix}/.default"
    try:
        token = credential.get_token(scope).token
    except AzureError as error:
        raise ServiceError(
            what="access token of the VM",
            where=f"GET {inside.endpoints.imds}/metadata/identity/oauth2/token",
            expected="a token",
            found=first_line(str(error)) or type(error).__name__,
            fix="Give the VM an identity first (step 1), and ask from inside it.",
        ) from error
    if exchanges:  # the last one: what came before it was refused and sent again
        made.add(
            "imds-token-request",
            "The token request to IMDS",
            exchanges[-1].to_json(),
            proves="Any program in the VM may ask, with no secret: the host vouches for which VM is asking.",
            next="The access token, which opens the vault's door in step 4.",
        )
    decoded = decode_jwt(token)
    made.add(
        "access-token",
        "The access token, decoded",
        {"header": dict(decoded.header), "claims": dict(decoded.claims)},
        proves="Entra ID says: the bearer is this VM's identity (oid), for this audience (aud), until exp.",
        next="Key Vault compares oid with its grants; aud must be the vault's own.",
    )
    return tuple(made.made)
