"""Causes in the permissions: access policies, roles, and the vault's firewall."""

from skrkit.diagnosis import sources
from skrkit.diagnosis.cause import OFF, Cause, Leg

_GRANT = "az keyvault set-policy --name {vault} --object-id {object_id} --key-permissions release"
_ROLE = (
    'az role assignment create --role "Key Vault Crypto Service Release User" --assignee-object-id {object_id} '
    "--assignee-principal-type ServicePrincipal --scope {vault_id}"
)

CAUSES = (
    Cause(
        id="access.release-missing",
        leg=Leg.ACCESS,
        title="The identity may not release keys of this vault",
        symptom="403 Forbidden/AccessDenied: The user, group or application '…' does not have keys release permission "
        "on key vault '…'.",
        why="No access policy of the vault gives this object id the key permission release. It stands among the "
        "privileged ones, which `all` may leave out.",
        fix="Add release to the identity's key permissions, and nothing more. az keyvault set-policy replaces what it "
        "has: name what it is to keep.",
        command=_GRANT,
        mend="skrkit walkthrough --step 2",
        source=sources.KEY_VAULT_ERRORS,
    ),
    Cause(
        id="access.get-missing",
        leg=Leg.ACCESS,
        title="The client reads the key first, and the identity may only release it",
        symptom="403 Forbidden/AccessDenied: '…' does not have keys get permission on key vault '…'.",
        why="Release does not ask for get. Many helpers fetch the key before they release it, and the least privilege "
        "that is right for release is not enough for them.",
        fix="Release without reading the key first; or let the identity read as well, if that is wanted. az keyvault "
        "set-policy replaces the key permissions that it has: name what it is to keep.",
        command="az keyvault set-policy --name {vault} --object-id {object_id} --key-permissions get release",
        mend=OFF,
        source=sources.KEY_VAULT_ROLES,
    ),
    Cause(
        id="access.stale-object-id",
        leg=Leg.ACCESS,
        title="The grant names an object id that this VM no longer has",
        symptom="403 Forbidden/AccessDenied: '…' does not have keys release permission, while an access policy has it "
        "for another object id",
        why="A system-assigned identity ends with its VM, and one that is switched off and on again has a new object "
        "id. The grant still names the old one.",
        fix="Grant release to the object id of today, and take the old entry away.",
        command=_GRANT,
        mend="skrkit walkthrough --step 2",
        source=sources.MANAGED_IDENTITY,
    ),
    Cause(
        id="access.not-propagated",
        leg=Leg.ACCESS,
        title="The grant is there, and Key Vault does not know it yet",
        symptom="403 Forbidden although the vault's own record has the grant",
        why="An access policy works almost at once, a role after several minutes, and membership in a group after the "
        "identity's next token, which can take a day.",
        fix="Wait and try again with a new access token.",
        mend=OFF,
        source=sources.KEY_VAULT_ROLES,
    ),
    Cause(
        id="access.rbac-mode",
        leg=Leg.ACCESS,
        title="The vault goes by Azure roles, and the grant is an access policy",
        symptom="403 Forbidden/ForbiddenByRbac: Caller is not authorized to perform action on resource.",
        why="With enableRbacAuthorization a vault ignores its access policies. Vaults that are made without the "
        "setting have it on since api-version 2026-02-01.",
        fix="Give the identity the role Key Vault Crypto Service Release User on the vault or the key.",
        command=_ROLE,
        mend=OFF,
        source=sources.KEY_VAULT_MODES,
    ),
    Cause(
        id="access.policy-mode",
        leg=Leg.ACCESS,
        title="The vault goes by access policies, and the grant is a role",
        symptom="403 Forbidden/AccessDenied: '…' does not have keys release permission, while the identity has the "
        "role",
        why="Without enableRbacAuthorization a vault ignores Azure roles for its keys.",
        fix="Add an access policy with release, or switch the vault to roles.",
        command=_GRANT,
        source=sources.KEY_VAULT_MODES,
    ),
    Cause(
        id="access.role-missing",
        leg=Leg.ACCESS,
        title="The identity has no role that may release keys",
        symptom="403 Forbidden/ForbiddenByRbac: Action: 'Microsoft.KeyVault/vaults/keys/release/action' … "
        "Assignment: (not found)",
        why="The vault goes by Azure roles, and none that covers release is assigned to the identity there.",
        fix="Assign Key Vault Crypto Service Release User, then wait: a role takes several minutes to work.",
        command=_ROLE,
        source=sources.KEY_VAULT_ROLES,
    ),
    Cause(
        id="access.wrong-role",
        leg=Leg.ACCESS,
        title="The identity has a role that does not cover release",
        symptom="403 Forbidden/ForbiddenByRbac on release although the identity is Key Vault Crypto User",
        why="Key Vault Crypto User has no release; Key Vault Crypto Service Release User has nothing else.",
        fix="Assign Key Vault Crypto Service Release User.",
        command=_ROLE,
        source=sources.KEY_VAULT_ROLES,
    ),
    Cause(
        id="access.hsm-local-role",
        leg=Leg.ACCESS,
        title="The identity has no local role of the Managed HSM",
        symptom="403 AccessDenied: Not authorized to access Microsoft.KeyVault/managedHsm/keys/release/action on "
        "/keys/<key>",
        why="A Managed HSM goes by roles of its own. A role given through Resource Manager does nothing here, and a "
        "scope of /keys and one of / are two.",
        fix="Assign the local role Managed HSM Crypto Service Release User at /keys or at the key.",
        command="az keyvault role assignment create --hsm-name {vault} "
        '--role "Managed HSM Crypto Service Release User" --assignee-object-id {object_id} --scope /keys',
        source=sources.HSM_ROLES,
    ),
    Cause(
        id="access.hsm-not-activated",
        leg=Leg.ACCESS,
        title="The Managed HSM is not activated",
        symptom="A new Managed HSM refuses everything",
        why="Until its security domain is downloaded, a Managed HSM does nothing.",
        fix="Download the security domain with three to ten certificates, and keep their private keys apart.",
        command="az keyvault security-domain download --hsm-name {vault} --security-domain-file domain.json "
        "--sd-quorum 2 --sd-wrapping-keys one.cer two.cer three.cer",
        source=sources.HSM_SECURITY_DOMAIN,
    ),
    Cause(
        id="access.firewall-address",
        leg=Leg.ACCESS,
        title="The vault's firewall does not let this address in",
        symptom="403 Forbidden/ForbiddenByFirewall: Client address is not authorized and caller is not a trusted "
        "service.",
        why="The vault denies by default, and the VM's public address is on no rule. The exception for trusted "
        "services is for Azure's own, not for code in a VM.",
        fix="Add a rule for the VM's subnet or address, or a private endpoint.",
        command="az keyvault network-rule add --name {vault} --ip-address {address}",
        mend=OFF,
        source=sources.KEY_VAULT_NETWORK,
    ),
    Cause(
        id="access.private-only",
        leg=Leg.ACCESS,
        title="The vault takes no public connection",
        symptom="403 Forbidden/ForbiddenByConnection: Public network access is disabled and request is not from a "
        "trusted service nor via an approved private link.",
        why="publicNetworkAccess is Disabled, and the request came by the public way: no private endpoint, or a name "
        "that resolves to the public address all the same.",
        fix="Make a private endpoint, and let the vault's name resolve through privatelink.vaultcore.azure.net; or "
        "open the vault to selected networks.",
        command="az keyvault update --name {vault} --public-network-access Enabled",
        mend=OFF,
        source=sources.KEY_VAULT_NETWORK,
    ),
    Cause(
        id="access.operator-role",
        leg=Leg.ACCESS,
        title="Who prepares the release may not change this resource",
        symptom="403 AuthorizationFailed: The client '…' with object id '…' does not have authorization to perform "
        "action '…' over scope '…'",
        why="Steps 1 to 3 change the VM, the vault and the key through Resource Manager, and the signed-in account has "
        "no role for it there.",
        fix="Have an owner assign a role that covers the action at that scope, or sign in as another account.",
        command="az role assignment list --assignee {object_id} --all --output table",
        source="learn.microsoft.com/azure/role-based-access-control/troubleshooting",
    ),
    Cause(
        id="access.arm-replaced",
        leg=Leg.ACCESS,
        title="A deployment has replaced all access policies",
        symptom="403 Forbidden/AccessDenied after an ARM or Bicep deployment of the vault",
        why="A template with accessPolicies sets the whole list: entries that it does not name are gone.",
        fix="Add entries with accessPolicies/add, or use roles; then grant again.",
        command=_GRANT,
        source=sources.KEY_VAULT_ARM,
    ),
    Cause(
        id="access.disk-orchestrator",
        leg=Leg.ACCESS,
        title="Confidential VM Orchestrator may not release the key of the OS disk",
        symptom="A confidential VM with a customer-managed key does not deploy or start",
        why="Azure's Confidential VM Orchestrator releases the disk's key. Its service principal is not in the tenant, "
        "or has not get and release; or the key is no exportable RSA-HSM key.",
        fix="Make its service principal, grant get and release, and make the key anew if it is not exportable.",
        command="az keyvault set-policy --name {vault} --object-id {object_id} --key-permissions get release",
        source=sources.CVM,
    ),
)
