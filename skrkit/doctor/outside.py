"""From outside, as who prepares the keys: sign-in, the VM and the vault as resources, the grant, the policy's text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING

from skrkit.doctor.check import NETWORK_LIMIT_S, Check, Outcome, failed, not_checked, ok, skipped, warning
from skrkit.doctor.gather import policy_text
from skrkit.errors import ServiceError
from skrkit.services.identities import default_of, identities_of

if TYPE_CHECKING:
    from skrkit.doctor.visit import Visit
    from skrkit.services.identities import VmIdentity
    from skrkit.services.roles import HeldRole
    from skrkit.wire import Json

_NOBODY = ("CredentialUnavailableError", "ClientAuthenticationError")  # what azure-identity says without an account


def _sign_in(visit: Visit) -> Outcome:
    from skrkit.token.decode import decode_jwt

    cloud = visit.reader.cloud
    try:
        claims = decode_jwt(visit.reader.token(cloud.endpoints.management)).claims
    except ServiceError as nobody:
        if nobody.code not in _NOBODY:
            raise
        return failed(f"Nobody is signed in: {nobody.found}", fix=nobody.fix)
    issued = claims.get("iat")
    if isinstance(issued, int):
        visit.issued.append(("Entra ID, by a token's iat", datetime.fromtimestamp(issued, UTC)))
    who = claims.get("upn") or claims.get("unique_name") or claims.get("appid") or "somebody"
    facts = {name: claims.get(name) for name in ("oid", "tid", "appid")}
    if not cloud.subscription:
        fix = "export AZURE_SUBSCRIPTION_ID=…   or --subscription ID"
        return failed(f"Signed in as {who}, and no subscription was named.", facts, fix=fix)
    return ok(f"Signed in as {who} in tenant {claims.get('tid')}; subscription {cloud.subscription}.", facts)


def _members(value: Json) -> Mapping[str, Json]:
    return value if isinstance(value, dict) else {}


def _vm(visit: Visit) -> Outcome:
    if not (visit.names.vm and visit.names.resource_group):
        return skipped("No VM was named: --vm NAME --resource-group NAME")
    from skrkit.token.providers import shared_provider_host

    visit.vm = visit.reader.vm(visit.resource_id("Microsoft.Compute/virtualMachines", visit.names.vm))
    host = shared_provider_host(str(visit.vm.get("location") or ""))
    if host and not visit.names.attestation:
        visit.names = replace(visit.names, attestation=f"https://{host}")
    profile = _members(_members(visit.vm.get("properties")).get("securityProfile"))
    uefi = _members(profile.get("uefiSettings"))
    identity, identities = _members(visit.vm.get("identity")), identities_of(visit.vm)
    principals = principals_of(visit.vm)
    facts: dict[str, Json] = {
        "security_type": profile.get("securityType"),
        "secure_boot": uefi.get("secureBootEnabled"),
        "vtpm": uefi.get("vTpmEnabled"),
        "identity_type": identity.get("type"),
        "principals": list(principals),
        "identities": [each.to_json() for each in identities],
    }
    kind, signs_in = facts["security_type"] or "no security type", identity.get("type") or "none"
    said = f"{visit.names.vm}: {kind}, identity {signs_in}"
    if str(facts["security_type"]).lower() != "confidentialvm":
        return failed(f"{said}: it was not made as a confidential VM.", facts, cause="machine.not-a-cvm")
    if not principals:
        return failed(f"{said}: nobody can sign in as it.", facts, cause="identity.none")
    if default_of(identities) is None and not visit.names.user_identity:
        return failed(f"{said}: IMDS cannot choose one by itself.", facts, cause="identity.several")
    if uefi.get("secureBootEnabled") is False:
        return failed(f"{said}: secure boot is off.", facts, cause="evidence.secure-boot-off")
    return ok(f"{said}, secure boot on, object id {_listed(identities)}.", facts)


def _listed(identities: Sequence[VmIdentity]) -> str:
    """Return the object ids of identities in words; of several, each with what it is the identity of."""
    if len(identities) == 1:
        return identities[0].object_id
    default, said = default_of(identities), []
    for each in identities:
        whose = "its own" if each.kind == "system-assigned" else each.resource_id.rpartition("/")[2]
        taken = ", which IMDS takes by itself" if each is default else ""
        said.append(f"{each.object_id or 'unknown'} ({whose}{taken})")
    return ", ".join(said)


def principals_of(vm: Mapping[str, Json]) -> tuple[str, ...]:
    """Return the object ids of a VM's identities: the system-assigned one first."""
    return tuple(each.object_id for each in identities_of(vm) if each.object_id)


def _vault(visit: Visit) -> Outcome:
    if not (visit.names.vault and visit.names.resource_group):
        return skipped("No vault was named: --vault NAME --resource-group NAME")
    visit.vault = visit.reader.vault(visit.resource_id("Microsoft.KeyVault/vaults", visit.names.vault))
    properties = _members(visit.vault.get("properties"))
    sku = str(_members(properties.get("sku")).get("name") or "").lower()
    roles = properties.get("enableRbacAuthorization") is True
    facts: dict[str, Json] = {
        "sku": sku,
        "authorization": "roles" if roles else "access policies",
        "tenant": properties.get("tenantId"),
    }
    said = f"{visit.names.vault}: {sku or 'no SKU'}, goes by {facts['authorization']}"
    if sku != "premium":
        words = f"{said}: only Premium has HSM keys, which alone can be released."
        return failed(words, facts, cause="key.standard-vault")
    return networks(said, facts, properties)


def networks(said: str, facts: Mapping[str, Json], properties: Mapping[str, Json]) -> Outcome:
    """Return what else is to be said of a vault, or Managed HSM, that is right: which networks it lets in."""
    rules = _members(properties.get("networkAcls"))
    public = str(properties.get("publicNetworkAccess") or "Enabled").lower() != "disabled"
    denies = str(rules.get("defaultAction") or "Allow").lower() == "deny"
    facts = {**facts, "public_network": public, "firewall": "deny" if denies else "allow"}
    if not public:
        said = f"{said}. Public access is off: only a private endpoint leads to it."
        return warning(said, facts, cause="access.private-only")
    if denies:
        said = f"{said}. Its firewall lets in {_allowed(rules)}: the VM must be among them."
        return warning(said, facts, cause="access.firewall-address")
    return ok(f"{said}, open to every network.", facts)


def _allowed(rules: Mapping[str, Json]) -> str:
    counts = []
    for name, words in (("ipRules", "address rules"), ("virtualNetworkRules", "subnets")):
        listed = rules.get(name)
        counts.append(f"{len(listed) if isinstance(listed, list) else 0} {words}")
    return " and ".join(counts)


def _grant(visit: Visit) -> Outcome:
    principals = principals_of(visit.vm)
    properties = _members(visit.vault.get("properties"))
    if not (principals and properties):
        return skipped("The VM or the vault was not named, or not read.")
    policies = properties.get("accessPolicies")
    grants = [_members(policy) for policy in policies] if isinstance(policies, list) else []
    granted = {str(grant.get("objectId") or "").lower(): _key_permissions(grant) for grant in grants}
    found = {oid: granted.get(oid.lower(), ()) for oid in principals}
    facts: dict[str, Json] = {"grants": {oid: list(permissions) for oid, permissions in found.items()}}
    if properties.get("enableRbacAuthorization") is True:
        return _roles(visit, principals, any("release" in permissions for permissions in found.values()), facts)
    holders = [oid for oid, permissions in found.items() if "release" in permissions]
    if not holders:
        return _without_release(principals, granted, facts)
    beyond = [name for name in found[holders[0]] if name != "release"]
    if beyond:
        said = f"Object id {holders[0]} may release, and also {', '.join(beyond)}, which a release does not need."
        fix = f"az keyvault set-policy --name {visit.names.vault} --object-id {holders[0]} --key-permissions release"
        return warning(said, facts, fix=fix)
    return ok(f"The access policy gives object id {holders[0]} `release` and nothing more.", facts)


def _key_permissions(grant: Mapping[str, Json]) -> tuple[str, ...]:
    keys = _members(grant.get("permissions")).get("keys")
    return tuple(sorted(str(name).lower() for name in keys)) if isinstance(keys, list) else ()


def _roles(visit: Visit, principals: tuple[str, ...], ignored: bool, facts: dict[str, Json]) -> Outcome:
    """Return what roles say of a vault that goes by them. `ignored` where an access policy has what they should."""
    held = _held(visit, principals)
    if held is None:
        if ignored:
            said = "An access policy gives the VM's identity `release`; this vault goes by roles, and ignores it."
            return failed(said, facts, cause="access.rbac-mode")
        said = "This vault goes by Azure roles, which were not read: release.preflight, inside the VM, tells."
        return not_checked(said, facts, fix="az role assignment list --scope VAULT_ID --assignee OBJECT_ID --all")
    from skrkit.provision.access import beyond_release
    from skrkit.provision.roles import RELEASE_ACTION

    facts["roles"] = {oid: [role.to_json() for role in mine] for oid, mine in held.items()}
    for oid, mine in held.items():
        giving = [role for role in mine if role.allows(RELEASE_ACTION, data=True) and not role.conditional]
        if giving:
            said = f"{giving[0].role} lets object id {oid} release"
            beyond = beyond_release(mine)
            if beyond:
                return warning(f"{said}; its roles also cover {', '.join(beyond)}, which no release needs.", facts)
            return ok(f"{said}, and nothing more.", facts)
    return _without_role(held, ignored, facts)


def _without_role(held: Mapping[str, tuple[HeldRole, ...]], ignored: bool, facts: dict[str, Json]) -> Outcome:
    names = ", ".join(sorted({role.role for mine in held.values() for role in mine}))
    who = f"The VM's identity {', '.join(held)}"
    if any(role.conditional for mine in held.values() for role in mine):
        return not_checked(f"{who} has {names}, under a condition that is not read here.", facts)
    if ignored:
        said = f"An access policy gives {', '.join(held)} `release`; this vault goes by roles, and ignores it."
        return failed(said, facts, cause="access.rbac-mode")
    if names:
        return failed(f"{who} has {names}, which does not cover a release.", facts, cause="access.wrong-role")
    return failed(f"{who} has no role at the key, the vault or above.", facts, cause="access.role-missing")


def _held(visit: Visit, principals: tuple[str, ...]) -> dict[str, tuple[HeldRole, ...]] | None:
    """Return the roles of each identity at the key, else at the vault; None where they cannot be read."""
    if visit.outside is None:
        return None
    from skrkit.services.roles import list_held

    scope = visit.resource_id("Microsoft.KeyVault/vaults", visit.names.vault)
    if visit.names.key:
        scope = f"{scope}/keys/{visit.names.key}"
    try:
        return {oid: list_held(visit.reader, scope, oid) for oid in principals}
    except ServiceError as refused:
        if refused.status != HTTPStatus.FORBIDDEN:
            raise
        return None


def _without_release(
    principals: tuple[str, ...], granted: Mapping[str, tuple[str, ...]], facts: dict[str, Json]
) -> Outcome:
    others = [oid for oid, permissions in granted.items() if permissions == ("release",)]
    wanted = ", ".join(principals)
    if others and not any(oid.lower() in granted for oid in principals):
        said = f"`release` was granted to {', '.join(others)}, and the VM's identity is {wanted}: was it made anew?"
        return failed(said, facts, cause="access.stale-object-id")
    said = f"No access policy gives the VM's identity {wanted} `release`."
    return failed(said, facts, cause="access.release-missing")


def _lint(visit: Visit) -> Outcome:
    from skrkit.policy.lint import lint_bytes
    from skrkit.policy.lint_rules import Severity

    text = policy_text(visit.key)
    if not text:
        return skipped("The key's policy was not read.")
    findings = lint_bytes(text, zone=f".{visit.either_side.endpoints.attest_suffix}")
    counts = {severity.value: sum(f.severity is severity for f in findings) for severity in Severity}
    said = ", ".join(f"{number} {name}{'' if number == 1 else 's'}" for name, number in counts.items())
    facts: dict[str, Json] = {"findings": [finding.to_json() for finding in findings]}
    if not findings:
        return ok("The linter has nothing to say of the policy.", facts)
    first = findings[0]
    words = f"{said}. First: {first.id} at {first.pointer or 'the whole'}: {first.what}."
    if first.severity is Severity.ERROR:
        return failed(words, facts, fix=first.fix)
    return warning(words, facts, fix=first.fix) if first.severity is Severity.WARNING else ok(words, facts)


CHECKS = (
    Check(
        id="outside.sign-in",
        title="Azure sign-in",
        proves="Somebody is signed in here whom Resource Manager knows.",
        side="outside",
        limit_s=NETWORK_LIMIT_S,
        run=_sign_in,
    ),
    Check(
        id="vm.resource",
        title="The VM as a resource",
        proves="The VM was made as a confidential VM, with secure boot, and has an identity.",
        side="outside",
        needs=("outside.sign-in",),
        limit_s=NETWORK_LIMIT_S,
        run=_vm,
    ),
    Check(
        id="vault.resource",
        title="The vault as a resource",
        proves="The vault has HSM keys, and its firewall lets clients in.",
        side="outside",
        needs=("outside.sign-in",),
        limit_s=NETWORK_LIMIT_S,
        run=_vault,
    ),
    Check(
        id="vault.grant",
        title="The grant",
        proves="The VM's identity, as it is today, may release keys of this vault, and do no more.",
        side="outside",
        needs=("vm.resource", "vault.resource"),
        limit_s=NETWORK_LIMIT_S,
        run=_grant,
    ),
)
POLICY_CHECKS = (
    Check(
        id="policy.lint",
        title="The policy's text",
        proves="The release policy says what its author means: a TEE, no debugging, claims that exist.",
        side="outside",
        needs=("key.attributes",),
        run=_lint,
    ),
)
