"""The stage: the names of what the four steps work on, and its making in the sandbox (step 0)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from skrkit.errors import ServiceError, UsageError
from skrkit.provision.tags import WALKTHROUGH
from skrkit.services.azure_errors import azure_call
from skrkit.services.maa import provider_url

if TYPE_CHECKING:
    from skrkit.cloud import Cloud

IDENTITIES = ("system", "user", "both")
IDENTITY_IDS = ("client-id", "object-id", "resource-id")
USER_ASSIGNED = "Microsoft.ManagedIdentity/userAssignedIdentities"
_VAULT_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{2,23}")
_USER_IDENTITY = re.compile(
    rf"(/subscriptions/[^/]+/resourceGroups/[^/]+/providers/{USER_ASSIGNED}/)?[A-Za-z0-9][\w-]{{2,127}}",
    re.IGNORECASE | re.ASCII,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """The names that the walkthrough works on. `attestation` is the provider's base URL, by default that of the region.

    `identity` is what the VM gets in step 1: an identity of its own ("system"), one that is a resource of its own
    ("user"), or "both"; access is granted to the user-assigned one where there is one. That is `user_identity`, a name
    in the resource group or a whole resource id, and programs in the VM ask IMDS for it by its `identity_by`.
    `rbac` says that the vault is to go by Azure roles; without it, either way is right, and access is granted as the
    vault asks. `hsm` names a Managed HSM: the keys are there, and not in the vault; it goes by local roles,
    and has a symmetric key beside the others.
    """

    resource_group: str = "skrkit-rg"
    location: str = "westeurope"
    vm: str = "cvm-1"
    vault: str = "skrkit-vault"
    key: str = "release-me"
    ec_key: str = "release-me-ec"
    platform_key: str = "release-me-platform"
    oct_key: str = "release-me-oct"
    attestation: str = ""
    identity: str = "system"
    user_identity: str = "skrkit-identity"
    identity_by: str = "resource-id"
    rbac: bool = False
    hsm: str = ""

    def __post_init__(self) -> None:
        """Refuse what could not be one vault's name or one provider's URL, before anything is made with it."""
        object.__setattr__(self, "attestation", provider_url(self.attestation or _regional(self.location)))
        if not _VAULT_NAME.fullmatch(self.vault):
            raise UsageError(
                what="vault",
                where="its name",
                expected="3 to 24 letters, digits and hyphens, a letter first",
                found=repr(self.vault),
                fix="Give the name alone: myvault, not https://myvault.vault.azure.net",
            )
        self._check_hsm()
        self._check_identity()

    def _check_hsm(self) -> None:
        if self.hsm and not _VAULT_NAME.fullmatch(self.hsm):
            raise UsageError(
                what="Managed HSM",
                where="its name",
                expected="3 to 24 letters, digits and hyphens, a letter first",
                found=repr(self.hsm),
                fix="Give the name alone: myhsm, not https://myhsm.managedhsm.azure.net",
            )
        if self.hsm and self.rbac:
            raise UsageError(
                what="roles of a Managed HSM",
                where="Stage.rbac",
                expected="nothing: it has local roles, and Azure's say nothing about its keys",
                found="True, with a Managed HSM",
                fix="Leave --rbac out, or --hsm.",
            )

    def _check_identity(self) -> None:
        if not _USER_IDENTITY.fullmatch(self.user_identity):
            raise UsageError(
                what="user-assigned identity",
                where="its name",
                expected="3 to 128 letters, digits, hyphens and underscores, or a whole resource id",
                found=repr(self.user_identity),
                fix=f"Give the name alone, or /subscriptions/…/resourceGroups/…/providers/{USER_ASSIGNED}/NAME",
            )
        for where, found, known in (
            ("Stage.identity", self.identity, IDENTITIES),
            ("Stage.identity_by", self.identity_by, IDENTITY_IDS),
        ):
            if found not in known:
                raise UsageError(
                    what="identity of the VM",
                    where=where,
                    expected=" or ".join(known),
                    found=repr(found),
                    fix=f'Stage({where.rpartition(".")[2]}="{known[0]}")',
                )

    def vm_id(self, cloud: Cloud) -> str:
        """Return the VM's resource id."""
        return self._id(cloud, "Microsoft.Compute/virtualMachines", self.vm)

    def user_identity_id(self, cloud: Cloud) -> str:
        """Return the user-assigned identity's resource id."""
        given = self.user_identity
        return given if given.startswith("/") else self._id(cloud, USER_ASSIGNED, given)

    def vault_id(self, cloud: Cloud) -> str:
        """Return the vault's resource id."""
        return self._id(cloud, "Microsoft.KeyVault/vaults", self.vault)

    def hsm_id(self, cloud: Cloud) -> str:
        """Return the Managed HSM's resource id."""
        return self._id(cloud, "Microsoft.KeyVault/managedHSMs", self.hsm)

    def holder_id(self, cloud: Cloud) -> str:
        """Return the resource id of what holds the keys."""
        return self.hsm_id(cloud) if self.hsm else self.vault_id(cloud)

    def key_ids(self, cloud: Cloud) -> tuple[str, ...]:
        """Return the resource ids of the keys that step 3 makes: the scopes of a role for each key alone."""
        return tuple(f"{self.vault_id(cloud)}/keys/{name}" for name in self.keys)

    @property
    def keys(self) -> tuple[str, ...]:
        """The names of the keys that step 3 makes."""
        names = (self.key, self.ec_key, self.platform_key)
        return (*names, self.oct_key) if self.hsm else names

    @property
    def holder_kind(self) -> str:
        """What kind of thing holds the keys: "vault" or "Managed HSM"."""
        return "Managed HSM" if self.hsm else "vault"

    @property
    def holder(self) -> str:
        """What holds the keys, in a sentence: "Vault x" or "Managed HSM x"."""
        return f"Managed HSM {self.hsm}" if self.hsm else f"Vault {self.vault}"

    def token_resource(self, cloud: Cloud) -> str:
        """Return the resource of an access token for what holds the keys."""
        return cloud.endpoints.hsm_resource if self.hsm else cloud.endpoints.vault_resource

    def vault_url(self, cloud: Cloud) -> str:
        """Return the data-plane address of what holds the keys: the Managed HSM if there is one, else the vault."""
        return cloud.endpoints.hsm_url(self.hsm) if self.hsm else cloud.endpoints.vault_url(self.vault)

    def _id(self, cloud: Cloud, kind: str, name: str) -> str:
        group = f"/subscriptions/{cloud.subscription}/resourceGroups/{self.resource_group}"
        return f"{group}/providers/{kind}/{name}"


def _regional(location: str) -> str:
    """Return the URL of a region's shared provider. Raises `UsageError` for a region that is not known to have one."""
    from skrkit.token.providers import shared_provider_host

    host = shared_provider_host(location.lower().replace(" ", ""))
    if host is None:
        raise UsageError(
            what="region of the VM",
            where="Stage.location",
            expected="a region with a shared attestation provider, such as westeurope",
            found=repr(location),
            fix="Name the provider: --attestation https://…",
            source="Azure/cvm-attestation-tools, region table",
        )
    return f"https://{host}"


KEY_PERMISSIONS_OF_OPERATOR = [
    "get", "list", "create", "update", "import", "rotate", "delete", "recover", "purge", "encrypt", "decrypt", "sign",
    "verify",
]  # fmt: skip  # what the person who prepares the keys needs; `release` is not among them


def set_stage(cloud: Cloud, stage: Stage) -> None:
    """Make what the four steps take for granted: a resource group, a Premium vault or Managed HSM, a confidential VM.

    What is there already is kept. Raises `ServiceError` when Resource Manager refuses.
    """
    from azure.mgmt.compute.models import VirtualMachine
    from azure.mgmt.resource.resources.models import ResourceGroup

    from skrkit.services import arm

    with azure_call("resource group"), arm.resource_groups(cloud) as groups:
        if not groups.resource_groups.check_existence(stage.resource_group):
            group = ResourceGroup(location=stage.location, tags=WALKTHROUGH)
            groups.resource_groups.create_or_update(stage.resource_group, group)
    _set_holder(cloud, stage)
    if stage.rbac:
        from skrkit.provision.roles import OFFICER_ROLE, assign

        assign(cloud, OFFICER_ROLE, [stage.vault_id(cloud)], cloud.operator)  # an Owner has no data action
    with azure_call("confidential VM"), arm.compute(cloud) as compute:
        machines = {vm.name for vm in compute.virtual_machines.list(stage.resource_group)}
        if stage.vm not in machines:
            compute.virtual_machines.begin_create_or_update(
                stage.resource_group, stage.vm, VirtualMachine(confidential_vm_body(cloud, stage))
            ).result()


def _set_holder(cloud: Cloud, stage: Stage) -> None:
    try:
        if stage.hsm:
            from skrkit.provision.hsm import set_hsm

            set_hsm(cloud, stage)
        else:
            _set_vault(cloud, stage)
    except ServiceError as error:
        from skrkit.provision.deleted_names import with_ways_out

        raise with_ways_out(cloud, stage, error) from error


def _set_vault(cloud: Cloud, stage: Stage) -> None:
    from azure.mgmt.keyvault.models import VaultCreateOrUpdateParameters

    from skrkit.services import arm

    with azure_call("vault"), arm.key_vaults(cloud) as vaults:
        known = {vault.name for vault in vaults.vaults.list_by_resource_group(stage.resource_group)}
        if stage.vault not in known:
            body = VaultCreateOrUpdateParameters(vault_body(cloud, stage))
            vaults.vaults.begin_create_or_update(
                stage.resource_group,
                stage.vault,
                body,
            ).result()


def vault_body(cloud: Cloud, stage: Stage) -> dict[str, Any]:
    """Return the body of a Premium vault: of one with access policies, with one of them for the operator."""
    operator = {
        "tenantId": cloud.tenant,
        "objectId": cloud.operator,
        "permissions": {"keys": KEY_PERMISSIONS_OF_OPERATOR},
    }
    return {
        "location": stage.location,
        "tags": WALKTHROUGH,
        "properties": {
            "tenantId": cloud.tenant,
            "sku": {"family": "A", "name": "premium"},
            "enableRbacAuthorization": stage.rbac,
            "accessPolicies": [] if stage.rbac else [operator],
        },
    }


def confidential_vm_body(cloud: Cloud, stage: Stage) -> dict[str, Any]:
    """Return the body of an SEV-SNP confidential VM: size, security type and disk encryption belong together."""
    network = f"/subscriptions/{cloud.subscription}/resourceGroups/{stage.resource_group}/providers/Microsoft.Network"
    return {
        "location": stage.location,
        "tags": WALKTHROUGH,
        "properties": {
            "hardwareProfile": {"vmSize": "Standard_DC2as_v5"},
            "securityProfile": {
                "securityType": "ConfidentialVM",
                "uefiSettings": {"secureBootEnabled": True, "vTpmEnabled": True},
            },
            "storageProfile": {
                "imageReference": {
                    "publisher": "Canonical",
                    "offer": "0001-com-ubuntu-confidential-vm-jammy",
                    "sku": "22_04-lts-cvm",
                    "version": "latest",
                },
                "osDisk": {
                    "createOption": "FromImage",
                    "managedDisk": {
                        "storageAccountType": "Premium_LRS",
                        "securityProfile": {"securityEncryptionType": "VMGuestStateOnly"},
                    },
                },
            },
            "osProfile": {
                "computerName": stage.vm,
                "adminUsername": "azureuser",
                "linuxConfiguration": {"disablePasswordAuthentication": True, "ssh": {"publicKeys": []}},
            },
            "networkProfile": {
                "networkInterfaces": [
                    {"id": f"{network}/networkInterfaces/{stage.vm}-nic", "properties": {"primary": True}}
                ]
            },
        },
    }
