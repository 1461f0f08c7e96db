"""Step 1: the confidential VM gets a managed identity, and asks IMDS for a token as that identity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from skrkit.artefact import Artefact, Collector, Show
from skrkit.cloud import IdentityChoice
from skrkit.errors import ServiceError, UsageError
from skrkit.provision.tags import WALKTHROUGH
from skrkit.services.azure_errors import azure_call
from skrkit.services.identities import VmIdentity, default_of, identities_of

if TYPE_CHECKING:
    from skrkit.cloud import Cloud
    from skrkit.provision.stage import Stage
    from skrkit.services.recording import HttpExchange
    from skrkit.wire import Json

USER_ASSIGNED_API = "2024-11-30"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The identity that the VM acts as. `object_id` is what access is granted to.

    `choice` is how programs in the VM ask IMDS for it, None where IMDS takes it by itself. `all` are the identities
    that the VM has, this one among them.
    """

    object_id: str
    tenant_id: str
    artefacts: tuple[Artefact, ...]
    choice: IdentityChoice | None = None
    all: tuple[VmIdentity, ...] = ()


def enable(cloud: Cloud, stage: Stage, *, show: Show | None = None) -> Identity:
    """Return the identity that the VM acts as, given to it if it had it not. The caller is the operator.

    What the VM has besides stays. Needs Virtual Machine Contributor on the VM; to make a user-assigned identity also
    Managed Identity Contributor on the group, and Managed Identity Operator on the identity to assign it.
    Raises `ServiceError` when Resource Manager refuses.
    """
    from azure.mgmt.compute.models import VirtualMachineUpdate

    from skrkit.services import arm

    made = Collector(1, show)
    own, user = stage.identity != "user", "" if stage.identity == "system" else stage.user_identity_id(cloud)
    with azure_call(f"identity of VM {stage.vm}"), arm.compute(cloud) as compute:
        before = compute.virtual_machines.get(stage.resource_group, stage.vm).as_dict()
        check_confidential(before)
        assigned, new = _user_identity(cloud, user, str(before.get("location") or stage.location))
        wanted = identity_update(before, own=own, user=user, principal=str(assigned.get("principalId") or ""))
        _show_before(made, before, known=wanted is None)
        if user:
            _show_user_identity(made, user, assigned, new=new)
        if wanted is not None:
            update = VirtualMachineUpdate({"identity": wanted})
            compute.virtual_machines.begin_update(stage.resource_group, stage.vm, update).result()
        after = compute.virtual_machines.get(stage.resource_group, stage.vm).as_dict()
    _show_after(made, after, user=bool(user))
    found = identities_of(after)
    acting = _acting(found, stage, user)
    tenant = str(assigned.get("tenantId") or (after.get("identity") or {}).get("tenantId") or cloud.tenant)
    choice = choice_of(stage.identity_by, acting) if user else None
    _show_identities(made, found, acting, choice)
    ids: dict[str, Json] = {"principalId": acting.object_id, "tenantId": tenant}
    made.add(
        "identity-object-id",
        "The identity's object id",
        {**ids, "clientId": acting.client_id} if acting.client_id else ids,
        proves="This id, and nothing else, is what Key Vault will look for in its grants.",
        next="The object id goes into the grant of step 2.",
    )
    return Identity(object_id=acting.object_id, tenant_id=tenant, artefacts=tuple(made.made), choice=choice, all=found)


def _show_before(made: Collector, vm: dict[str, Any], *, known: bool) -> None:
    some = bool(identities_of(vm))
    state = "its identity is on already" if known else "an identity, and not this one" if some else "no identity"
    made.add(
        "vm-before",
        f"The VM before: {state}",
        vm,
        proves="Resource Manager knows this VM as confidential"
        + (
            ", and gave it an identity before."
            if known
            else ", and its other identities stay."
            if some
            else ", and no one can sign in as it yet."
        ),
        next="Nothing is left to switch on." if known else "Its resource id, to switch the identity on.",
    )


def _show_after(made: Collector, vm: dict[str, Any], *, user: bool) -> None:
    made.add(
        "vm-after",
        "The VM after: an identity that it may act as" if user else "The VM after: an identity of its own",
        vm,
        proves="The VM's resource names the identity by its id; deleting the VM leaves the identity alone."
        if user
        else "Entra ID made a service principal that lives and dies with this VM; no password exists.",
        next="userAssignedIdentities: the principalId, which step 2 grants access to, and the clientId."
        if user
        else "identity.principalId, which step 2 grants access to.",
        points_at=("identity",),
    )


def _user_identity(cloud: Cloud, identity_id: str, location: str) -> tuple[dict[str, Any], bool]:
    """Return the properties of the user-assigned identity, and whether it was made now; nothing of no identity."""
    from azure.core.exceptions import ResourceNotFoundError
    from azure.mgmt.resource.resources.models import GenericResource

    from skrkit.services import arm

    if not identity_id:
        return {}, False
    with arm.resource_groups(cloud) as client:
        try:
            found, new = client.resources.get_by_id(identity_id, api_version=USER_ASSIGNED_API), False
        except ResourceNotFoundError:
            body = GenericResource(location=location, tags=WALKTHROUGH)
            making = client.resources.begin_create_or_update_by_id(identity_id, body, api_version=USER_ASSIGNED_API)
            found, new = making.result(), True
    return found.as_dict().get("properties") or {}, new


def _show_user_identity(made: Collector, identity_id: str, properties: dict[str, Any], *, new: bool) -> None:
    made.add(
        "user-identity",
        "The user-assigned identity: made now" if new else "The user-assigned identity: there already",
        {"id": identity_id, "properties": properties},
        proves="An identity can be a resource of its own: it has its object id before any VM has it, and keeps it.",
        next="Its resource id goes into the VM's resource; its object id can be granted access beforehand.",
    )


def _acting(found: tuple[VmIdentity, ...], stage: Stage, user: str) -> VmIdentity:
    """Return the identity that was asked for. Raises `ServiceError` if the VM has it not after all."""
    for each in found:
        if (each.named_by(IdentityChoice(resource_id=user)) if user else each.kind == "system-assigned") and (
            each.object_id
        ):
            return each
    raise ServiceError(
        what="identity of the VM",
        where=f"{stage.vm} /identity/{'userAssignedIdentities' if user else 'principalId'}",
        expected="an object id",
        found="nothing",
        fix=f"az vm identity assign --resource-group {stage.resource_group} --name {stage.vm}"
        + (f" --identities {user}" if user else ""),
    )


def choice_of(by: str, identity: VmIdentity) -> IdentityChoice:
    """Return the choice that names an identity by its "client-id", "object-id" or "resource-id"."""
    if by == "client-id":
        return IdentityChoice(client_id=identity.client_id)
    if by == "object-id":
        return IdentityChoice(object_id=identity.object_id)
    return IdentityChoice(resource_id=identity.resource_id)


def known_choice(cloud: Cloud, stage: Stage) -> IdentityChoice | None:
    """Return the choice that can be made without asking Resource Manager, as inside the VM: by resource id, or none.

    Raises `UsageError` where the stage wants another id, which only Resource Manager knows.
    """
    if stage.identity == "system":
        return None
    if stage.identity_by != "resource-id":
        raise UsageError(
            what=f"{stage.identity_by} of {stage.user_identity}",
            where="inside the VM",
            expected="an id that is known here",
            found="one that only Resource Manager tells, outside",
            fix="--identity-by resource-id",
        )
    if not (cloud.subscription or stage.user_identity.startswith("/")):
        raise UsageError(
            what="user-assigned identity",
            where="its name",
            expected="a subscription to look it up in, or a whole resource id",
            found=repr(stage.user_identity),
            fix="--subscription ID   or --user-identity /subscriptions/…",
        )
    return IdentityChoice(resource_id=stage.user_identity_id(cloud))


def _show_identities(
    made: Collector, found: tuple[VmIdentity, ...], acting: VmIdentity, choice: IdentityChoice | None
) -> None:
    default = default_of(found)
    rows: list[Json] = [
        {**each.to_json(), "imds_default": each is default, "acts_in_step_4": each is acting} for each in found
    ]
    asked = f"Step 4 asks IMDS with {next(iter(choice.query()))}." if choice else "Step 4 names none in its request."
    made.add(
        "identities",
        f"The identities that the VM has: {len(found)}",
        rows,
        proves=f"IMDS gives the {default.kind} one to a request that names none."
        if default
        else "IMDS gives none of them to a request that names none: it does not choose among several.",
        next=f"{asked} Any program in the VM may act as any of them.",
    )


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


def identity_update(vm: dict[str, Any], *, own: bool, user: str = "", principal: str = "") -> dict[str, Any] | None:
    """Return the `identity` to send so that a VM has what is wanted and keeps what it has, or None if it has it.

    `own` asks for the system-assigned identity, `user` for the user-assigned one of that resource id. `principal` is
    its object id: the VM may still have that of a deleted identity of the same name, which no service knows any more.
    "SystemAssigned" alone would take every user-assigned identity away.
    """
    had = identities_of(vm)
    others = [each.resource_id for each in had if each.kind == "user-assigned"]
    has_own = len(others) < len(had)
    same = [each for each in had if user and each.kind == "user-assigned" and each.resource_id.lower() == user.lower()]
    alive = any(not principal or each.object_id.lower() == principal.lower() for each in same)
    if (has_own or not own) and (not user or alive):
        return None
    assigned = [*others, *([user] if user and not same else [])]
    if not assigned:
        return {"type": "SystemAssigned"}
    kinds = "SystemAssigned, UserAssigned" if own or has_own else "UserAssigned"
    return {"type": kinds, "userAssignedIdentities": {name: {} for name in assigned}}


def request_token(inside: Cloud, resource: str = "", *, show: Show | None = None) -> tuple[Artefact, ...]:
    """Return what IMDS gives to a program in the VM: the request as sent, and the access token, decoded.

    `resource` is what the token is for: Key Vault, or a Managed HSM. The token itself is a secret and becomes no
    artefact. Raises `ServiceError` when IMDS refuses.
    """
    from azure.core.exceptions import AzureError

    from skrkit.services.azure_errors import first_line
    from skrkit.services.recording import RecordingTransport
    from skrkit.token.decode import decode_jwt

    made = Collector(1, show)
    exchanges: list[HttpExchange] = []
    credential = inside.credential(RecordingTransport(exchanges.append, **inside.transport_options()))
    scope = f"{resource or inside.endpoints.vault_resource}/.default"
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
            next="The access token, which opens the door of what holds the key, in step 4.",
        )
    decoded = decode_jwt(token)
    made.add(
        "access-token",
        "The access token, decoded",
        {"header": dict(decoded.header), "claims": dict(decoded.claims)},
        proves="Entra ID says: the bearer is this VM's identity (oid), for this audience (aud), until exp.",
        next="Key Vault, or the Managed HSM, compares oid with its grants; aud must be the service's own.",
    )
    return tuple(made.made)
