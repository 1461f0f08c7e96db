"""Step 2 for a Managed HSM: a local role at each key. And its making in the sandbox, which is step 0.

Azure's roles give no access to the keys of a Managed HSM: it has roles of its own, which its data plane keeps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from skrkit.artefact import Collector, Show
from skrkit.errors import UsageError
from skrkit.provision.tags import WALKTHROUGH
from skrkit.services.azure_errors import azure_call
from skrkit.services.hsm import (
    CRYPTO_USER_ROLE,
    RELEASE_ACTION,
    RELEASE_ROLE,
    assign,
    held_roles,
    local_roles,
    unassign,
)

if TYPE_CHECKING:
    from cryptography import x509

    from skrkit.cloud import Cloud
    from skrkit.provision.access import Access
    from skrkit.provision.stage import Stage
    from skrkit.services.roles import HeldRole
    from skrkit.wire import Json

HOLDERS, QUORUM = 3, 2  # of the sandbox's security domain


def grant(cloud: Cloud, stage: Stage, object_id: str, *, show: Show | None = None) -> Access:
    """Return the access of `object_id` after it may release each of the stage's keys, and no other.

    The caller may assign local roles: as Managed HSM Administrator, or Policy Administrator. The keys need not be there
    yet. Raises `UsageError` for an HSM that is not activated, `ServiceError` when Resource Manager or the HSM refuses.
    """
    from skrkit.provision.access import Access
    from skrkit.services import arm

    made = Collector(2, show)
    with azure_call(f"Managed HSM {stage.hsm}"), arm.key_vaults(cloud) as client:
        answer = client.managed_hsms.get(stage.resource_group, stage.hsm)
    found: dict[str, Any] = answer.as_dict() if answer is not None else {}  # 204, which is no answer to a GET
    check_activated(found, stage)
    made.add(
        "hsm",
        "The Managed HSM",
        found,
        proves="It is active: its security domain was downloaded. Who may do what with its keys does not stand here.",
        next="Its own data plane keeps its roles, and is asked next.",
    )
    with local_roles(cloud, stage.vault_url(cloud)) as client:
        assignments: list[Json] = [assign(client, RELEASE_ROLE, f"/keys/{name}", object_id) for name in stage.keys]
        held = held_roles(client, stage.key, object_id)
    made.add(
        "role-assignments",
        "The local role assignments",
        {"assignments": assignments},
        proves=f"{RELEASE_ROLE} has one data action, {RELEASE_ACTION}: not read, not list, not decrypt.",
        next="Each is at one key: /keys/<name>. In an HSM of several regions it can take six minutes to be everywhere.",
    )
    access = preflight(object_id, held)
    made.add(
        "preflight",
        "May this identity release a key of this Managed HSM?",
        access,
        proves="The grant covers `release`; whatever else it covers is listed, and should be nothing.",
        next="Step 4 still needs a policy that says yes to the VM's attestation.",
    )
    return Access(permissions=(), may_release=access["may_release"] is True, artefacts=tuple(made.made), roles=held)


def revoke(cloud: Cloud, stage: Stage, object_id: str) -> list[str]:
    """Return the ids of the assignments of the release role at the stage's keys, which were taken away."""
    with local_roles(cloud, stage.vault_url(cloud)) as client:
        return [
            removed for name in stage.keys for removed in unassign(client, RELEASE_ROLE, f"/keys/{name}", object_id)
        ]


def preflight(object_id: str, held: Sequence[HeldRole]) -> dict[str, Json]:
    """Return what local roles let an identity do with a key: enough for a release, or more."""
    return {
        "mode": "local roles",
        "object_id": object_id,
        "may_release": any(role.allows(RELEASE_ACTION, data=True) for role in held),
        "roles": [role.to_json() for role in held],
        "beyond_release": [*beyond_release(held)],
    }


def beyond_release(held: Sequence[HeldRole]) -> tuple[str, ...]:
    """Return the data actions of local roles besides the release."""
    actions = {action for role in held for each in role.permissions for action in each.data_actions}
    return tuple(sorted(action for action in actions if action.lower() != RELEASE_ACTION.lower()))


def activation_of(hsm: Mapping[str, Any]) -> str:
    """Return the activation status of a Managed HSM resource, "Active" if it has its security domain."""
    domain = (hsm.get("properties") or {}).get("securityDomainProperties") or {}
    return str(domain.get("activationStatus") or "nothing")


def activation_command(name: str) -> str:
    """Return the command that activates a Managed HSM, for an administrator of it with the holders' certificates."""
    return (
        f"az keyvault security-domain download --hsm-name {name} --sd-wrapping-keys holder1.cer "
        "holder2.cer holder3.cer --sd-quorum 2 --security-domain-file domain.json"
    )


def role_command(name: str, role: str, scope: str, object_id: str, *, person: bool = False) -> str:
    """Return the command that assigns a local role, for who may. `person` where the principal is no program."""
    kind = "User" if person else "ServicePrincipal"
    return (
        f'az keyvault role assignment create --hsm-name {name} --role "{role}" --assignee-object-id {object_id} '
        f"--assignee-principal-type {kind} --scope {scope}"
    )


def check_activated(hsm: dict[str, Any], stage: Stage) -> None:
    """Return nothing if a Managed HSM resource has its security domain. Raises `UsageError`."""
    found = activation_of(hsm)
    if found != "Active":
        raise UsageError(
            what=f"Managed HSM {stage.hsm}",
            where="/properties/securityDomainProperties/activationStatus",
            expected="Active",
            found=found,
            fix=activation_command(stage.hsm),
            source="Microsoft's documents on the security domain of Managed HSM",
        )


# --- step 0, in the sandbox


def set_hsm(cloud: Cloud, stage: Stage) -> None:
    """Make the stage's Managed HSM if it is not there, activate it, and let the operator make keys.

    The holders of the security domain are made up and forgotten: this is for the sandbox, whose HSMs nobody restores.
    Raises `ServiceError` when Resource Manager or the HSM refuses.
    """
    from azure.mgmt.keyvault.models import ManagedHsm

    from skrkit.services import arm

    url = stage.vault_url(cloud)
    with azure_call(f"Managed HSM {stage.hsm}"), arm.key_vaults(cloud) as client:
        known = {each.name: each.as_dict() for each in client.managed_hsms.list_by_resource_group(stage.resource_group)}
        hsm = known.get(stage.hsm)
        if hsm is None:
            body = ManagedHsm(hsm_body(cloud, stage))
            hsm = client.managed_hsms.begin_create_or_update(stage.resource_group, stage.hsm, body).result().as_dict()
    if activation_of(hsm) != "Active":
        activate_for_nobody(cloud, url)
    with local_roles(cloud, url) as roles:
        assign(roles, CRYPTO_USER_ROLE, "/keys", cloud.operator)  # an administrator does nothing with keys


def activate_for_nobody(cloud: Cloud, url: str) -> None:
    """Activate a Managed HSM of the sandbox: the private keys of who could restore it are not kept."""
    from skrkit.services.security_domain import activate

    activate(cloud, url, _passing_holders(cloud), quorum=QUORUM)


def hsm_body(cloud: Cloud, stage: Stage) -> dict[str, Any]:
    """Return the body of a Managed HSM whose first administrator is the operator."""
    return {
        "location": stage.location,
        "tags": WALKTHROUGH,
        "sku": {"family": "B", "name": "Standard_B1"},
        "properties": {"tenantId": cloud.tenant, "initialAdminObjectIds": [cloud.operator]},
    }


def _passing_holders(cloud: Cloud) -> list[x509.Certificate]:
    """Return certificates whose private keys nobody keeps."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.x509.oid import NameOID

    made, now = [], cloud.now()
    for number in range(1, HOLDERS + 1):
        key = rsa.generate_private_key(65537, 2048)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"holder {number}")])
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        builder = builder.serial_number(number).not_valid_before(now).not_valid_after(now + timedelta(days=365))
        made.append(builder.sign(key, hashes.SHA256()))
    return made
