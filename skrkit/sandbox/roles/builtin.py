"""The built-in roles that matter to secure key release, with Azure's own ids and what each allows.

Ids and data actions are those of Microsoft's list of Azure built-in roles. Of the other actions only those of providers
that the sandbox has stand here, from general knowledge: they were not held against that list line by line (inferred).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

_KV = "Microsoft.KeyVault"
_KEYS = f"{_KV}/vaults/keys"
_GROUP_READ = "Microsoft.Resources/subscriptions/resourceGroups/read"
_COMMON = ("Microsoft.Authorization/*/read", "Microsoft.Resources/deployments/*", _GROUP_READ)
_VAULT_READ = (
    *_COMMON,
    f"{_KV}/checkNameAvailability/read",
    f"{_KV}/deletedVaults/read",
    f"{_KV}/locations/*/read",
    f"{_KV}/vaults/*/read",
    f"{_KV}/operations/read",
)
_NETWORK = "Microsoft.Network"


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """A role definition. `guid` is its name in Resource Manager, lower case; the patterns may have stars.

    `data` and `not_data` are for the data plane: of a role without them, a vault's keys know nothing. `assigns` are
    the roles that its holder may assign, where a condition of the role limits that; None is no limit.
    """

    guid: str
    name: str
    description: str
    actions: tuple[str, ...] = ()
    not_actions: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    not_data: tuple[str, ...] = ()
    assigns: frozenset[str] | None = None
    custom: bool = False
    scopes: tuple[str, ...] = ("/",)


def _keys(*operations: str) -> tuple[str, ...]:
    return tuple(f"{_KEYS}/{operation}" for operation in operations)


OWNER = Role(
    guid="8e3af657-a8ff-443c-a75c-2fe8c4bcb635",
    name="Owner",
    description="Manages everything, and who has access. No data action.",
    actions=("*",),
)
VAULT_ADMINISTRATOR = Role(
    guid="00482a5a-887f-4fb3-b363-3b7fe8e74483",
    name="Key Vault Administrator",
    description="Does all data actions of a vault; manages no vault and no role assignment.",
    actions=_VAULT_READ,
    data=(f"{_KV}/vaults/*",),
)
CRYPTO_OFFICER = Role(
    guid="14b46e9e-c2b7-41b4-b07b-48a6ebf60603",
    name="Key Vault Crypto Officer",
    description="Does everything with a vault's keys, but manages no permissions.",
    actions=_VAULT_READ,
    data=(f"{_KEYS}/*", f"{_KV}/vaults/keyrotationpolicies/*"),
)
CRYPTO_USER = Role(
    guid="12338af0-0e69-4776-bea7-57ae8d297424",
    name="Key Vault Crypto User",
    description="Does cryptography with keys. No create, and no release.",
    data=_keys(
        "read", "update/action", "backup/action", "encrypt/action", "decrypt/action", "wrap/action", "unwrap/action",
        "sign/action", "verify/action",
    ),
)  # fmt: skip
RELEASE_USER = Role(
    guid="08bbd89e-9f13-488c-ac41-acfcb10c90ab",
    name="Key Vault Crypto Service Release User",
    description="Releases keys, and does nothing else: it cannot read the key.",
    data=_keys("release/action"),
)
ENCRYPTION_USER = Role(
    guid="e147488a-f6f5-4113-8e2d-b22465e65bf6",
    name="Key Vault Crypto Service Encryption User",
    description="Reads a key's metadata, wraps and unwraps.",
    data=_keys("read", "wrap/action", "unwrap/action"),
)
VAULT_READER = Role(
    guid="21090545-7ca7-4776-b22c-e363652d74d2",
    name="Key Vault Reader",
    description="Reads metadata of vaults and of what is in them. No secret values.",
    actions=_VAULT_READ,
    data=(f"{_KV}/vaults/*/read", f"{_KV}/vaults/secrets/readMetadata/action"),
)
CERTIFICATES_OFFICER = Role(
    guid="a4417e6f-fecd-4de8-b567-7b0420556985",
    name="Key Vault Certificates Officer",
    description="Does everything with a vault's certificates.",
    actions=_VAULT_READ,
    data=tuple(f"{_KV}/vaults/{each}" for each in ("certificatecas/*", "certificates/*", "certificatecontacts/write")),
)
SECRETS_OFFICER = Role(
    guid="b86a8fe4-44ce-4948-aee5-eccb2c155cd7",
    name="Key Vault Secrets Officer",
    description="Does everything with a vault's secrets.",
    actions=_VAULT_READ,
    data=(f"{_KV}/vaults/secrets/*",),
)
SECRETS_USER = Role(
    guid="4633458b-17de-408a-b874-0445c86b69e6",
    name="Key Vault Secrets User",
    description="Reads secrets.",
    data=(f"{_KV}/vaults/secrets/getSecret/action", f"{_KV}/vaults/secrets/readMetadata/action"),
)
_OF_DATA_ACCESS_ADMINISTRATOR = (
    VAULT_ADMINISTRATOR, CERTIFICATES_OFFICER, CRYPTO_OFFICER, ENCRYPTION_USER, CRYPTO_USER, VAULT_READER,
    SECRETS_OFFICER, SECRETS_USER,
)  # fmt: skip  # its condition, in which the release role does not stand
VM_CONTRIBUTOR = Role(
    guid="9980e02c-c2be-4d73-94e8-173b1dc7cf3c",
    name="Virtual Machine Contributor",
    description="Manages virtual machines, their identity included; not the network or vault that they use.",
    actions=(
        "Microsoft.Authorization/*/read",
        "Microsoft.Compute/availabilitySets/*",
        "Microsoft.Compute/locations/*",
        "Microsoft.Compute/virtualMachines/*",
        "Microsoft.Compute/virtualMachineScaleSets/*",
        "Microsoft.Compute/disks/write",
        "Microsoft.Compute/disks/read",
        "Microsoft.Compute/disks/delete",
        f"{_NETWORK}/locations/*",
        f"{_NETWORK}/networkInterfaces/*",
        f"{_NETWORK}/networkSecurityGroups/join/action",
        f"{_NETWORK}/networkSecurityGroups/read",
        f"{_NETWORK}/publicIPAddresses/join/action",
        f"{_NETWORK}/publicIPAddresses/read",
        f"{_NETWORK}/virtualNetworks/read",
        f"{_NETWORK}/virtualNetworks/subnets/join/action",
        "Microsoft.Resources/deployments/*",
        _GROUP_READ,
    ),
)

BUILT_IN: tuple[Role, ...] = (
    OWNER,
    Role(
        guid="b24988ac-6180-42a0-ab88-20f7382dd24c",
        name="Contributor",
        description="Manages everything but access. No data action.",
        actions=("*",),
        not_actions=(
            "Microsoft.Authorization/*/Delete",
            "Microsoft.Authorization/*/Write",
            "Microsoft.Authorization/elevateAccess/Action",
        ),
    ),
    Role(
        guid="acdd72a7-3385-48ef-bd42-f606fba81ae7",
        name="Reader",
        description="Sees everything, and changes nothing. No data action.",
        actions=("*/read",),
    ),
    Role(
        guid="18d7d88d-d35e-4fb5-a5c3-7773c20a72d9",
        name="User Access Administrator",
        description="Manages who has access.",
        actions=("*/read", "Microsoft.Authorization/*"),
    ),
    Role(
        guid="f58310d9-a9f6-439a-9e8d-f62e7b41a168",
        name="Role Based Access Control Administrator",
        description="Assigns roles.",
        actions=(
            "Microsoft.Authorization/roleAssignments/write",
            "Microsoft.Authorization/roleAssignments/delete",
            "*/read",
        ),
    ),
    VAULT_ADMINISTRATOR,
    CRYPTO_OFFICER,
    CRYPTO_USER,
    RELEASE_USER,
    ENCRYPTION_USER,
    VAULT_READER,
    Role(
        guid="a68e7c17-0ab2-4c09-9a58-125dae29748c",
        name="Key Vault Purge Operator",
        description="Purges soft-deleted vaults.",
        actions=(
            f"{_KV}/locations/deletedVaults/purge/action",
            f"{_KV}/locations/operationResults/read",
            f"{_KV}/deletedVaults/read",
        ),
    ),
    CERTIFICATES_OFFICER,
    Role(
        guid="db79e9a7-68ee-4b58-9aeb-b90e7c24fcba",
        name="Key Vault Certificate User",
        description="Reads certificates, with their secret and key.",
        data=(
            f"{_KV}/vaults/certificates/read",
            f"{_KV}/vaults/secrets/getSecret/action",
            f"{_KV}/vaults/secrets/readMetadata/action",
            f"{_KEYS}/read",
        ),
    ),
    SECRETS_OFFICER,
    SECRETS_USER,
    Role(
        guid="8b54135c-b56d-4d72-a534-26097cfdc8d8",
        name="Key Vault Data Access Administrator",
        description="Assigns the Key Vault roles of its condition, among which the release role is not.",
        actions=(
            "Microsoft.Authorization/roleAssignments/write",
            "Microsoft.Authorization/roleAssignments/delete",
            *_COMMON,
            "Microsoft.Resources/subscriptions/read",
            "Microsoft.Management/managementGroups/read",
            f"{_KV}/vaults/*/read",
        ),
        assigns=frozenset(role.guid for role in _OF_DATA_ACCESS_ADMINISTRATOR),
    ),
    Role(
        guid="f25e0fa2-a7c8-4377-a976-54943a77a395",
        name="Key Vault Contributor",
        description="Manages vaults as resources, their access policies included. No data action.",
        actions=(*_COMMON, f"{_KV}/*"),
        not_actions=(
            f"{_KV}/locations/deletedVaults/purge/action",
            f"{_KV}/hsmPools/*",
            f"{_KV}/managedHsms/*",
        ),
    ),
    Role(
        guid="18500a29-7fe2-46b2-a342-b16a415e101d",
        name="Managed HSM contributor",
        description="Manages managed HSM pools as resources; gives no access to them.",
        actions=(
            f"{_KV}/managedHSMs/*",
            f"{_KV}/deletedManagedHsms/read",
            f"{_KV}/locations/deletedManagedHsms/read",
            f"{_KV}/locations/deletedManagedHsms/purge/action",
            f"{_KV}/locations/managedHsmOperationResults/read",
        ),
    ),
    VM_CONTRIBUTOR,
    Role(
        guid="e40ec5ca-96e0-45a2-b4ff-59039f2c2b59",
        name="Managed Identity Contributor",
        description="Makes, reads, changes and deletes user-assigned identities.",
        actions=(
            "Microsoft.ManagedIdentity/userAssignedIdentities/read",
            "Microsoft.ManagedIdentity/userAssignedIdentities/write",
            "Microsoft.ManagedIdentity/userAssignedIdentities/delete",
            *_COMMON,
        ),
    ),
    Role(
        guid="f1a07417-d97a-45cb-824c-7a7467783830",
        name="Managed Identity Operator",
        description="Reads user-assigned identities and gives them to resources.",
        actions=(
            "Microsoft.ManagedIdentity/userAssignedIdentities/*/read",
            "Microsoft.ManagedIdentity/userAssignedIdentities/*/assign/action",
            *_COMMON,
        ),
    ),
    Role(
        guid="bbf86eb8-f7b4-4cce-96e4-18cddf81d86e",
        name="Attestation Contributor",
        description="Reads, writes and deletes attestation providers.",
        actions=tuple(
            f"Microsoft.Attestation/attestationProviders/attestation/{verb}" for verb in ("read", "write", "delete")
        ),
    ),
    Role(
        guid="fd1bd22b-8476-40bc-a0bc-69b95687b9f3",
        name="Attestation Reader",
        description="Reads the properties of attestation providers.",
        actions=("Microsoft.Attestation/attestationProviders/attestation/read",),
    ),
)


def named(name: str, roles: Iterable[Role] = BUILT_IN) -> Role | None:
    """Return the role of this name or id, in any case, or None."""
    wanted = name.lower()
    return next((role for role in roles if wanted in (role.name.lower(), role.guid)), None)
