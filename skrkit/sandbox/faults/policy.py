"""Faults of the release policy: mistakes that a vault takes without a word, and that no token then meets."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

from skrkit.encoding import b64url, b64url_bytes
from skrkit.sandbox.faults import resources
from skrkit.sandbox.faults.fault import Fault, Undone

if TYPE_CHECKING:
    from skrkit.sandbox.world import World

Policy: TypeAlias = dict[str, Any]
Mistake: TypeAlias = Callable[[Policy], None]
"""Changes a policy's document in place; leaves one alone in which the mistake cannot be made."""

TEE = "x-ms-isolation-tee."
OTHER_VM = "0B5A4C0E-7E6D-4D53-9A3B-3B8F6B1E2C4D"
OTHER_REGION = "https://sharedneu.neu.attest.azure.net"


def _spoil(mistake: Mistake) -> Callable[[World], dict[str, Any]]:
    """Return an `apply` that makes the mistake in every release policy where it can be made."""

    def apply(world: World) -> dict[str, Any]:
        from skrkit.sandbox.hsm.resource import is_hsm

        changed = []
        for keys, named in resources.releasable(world):
            kept = named["release_policy"]
            data = _mistaken(kept["data"], mistake, in_hsm=is_hsm(keys.vault))
            if data == kept["data"]:
                continue
            changed.append({"vault": keys.vault, "name": named["name"], "before": kept["data"], "made": data})
            keys.write(named | {"release_policy": kept | {"data": data}})
        resources.require(changed, "a key whose release policy lets this mistake be made")
        return {"keys": changed}

    return apply


def _mistaken(data: str, mistake: Mistake, *, in_hsm: bool) -> str:
    """Return a policy's `data` with the mistake in it, rewritten as a vault or a Managed HSM rewrites what it gets."""
    from skrkit.sandbox.vault.release_policy import stored_policy

    policy: Policy = json.loads(b64url_bytes(data, what="release policy data", where="/release_policy/data"))
    mistake(policy)
    spoilt: str = stored_policy({"data": b64url(json.dumps(policy).encode())}, in_hsm=in_hsm)["data"]
    return spoilt


def _mend(world: World, before: dict[str, Any]) -> Undone:
    put_back, left = [], []
    for had in before["keys"]:
        keys = resources.keys_of(world, had["vault"])
        named = keys.name(had["name"])
        policy = named["release_policy"] if named is not None else None
        if named is None or policy is None or policy["data"] != had["made"]:
            left.append(f"{had['name']} ({'gone' if policy is None else 'its policy was changed since'})")
            continue
        keys.write(named | {"release_policy": policy | {"data": had["before"]}})
        put_back.append(f"the policy of {had['name']}")
    return Undone(put_back=tuple(put_back), left=tuple(left))


# --- the mistakes


def _conditions(policy: Policy) -> Iterator[dict[str, Any]]:
    """Return the conditions of every authority, whatever groups they stand in."""
    groups: list[dict[str, Any]] = list(policy["anyOf"])
    while groups:
        group = groups.pop()
        for member in group.get("allOf") or group.get("anyOf") or []:
            if "claim" in member:
                yield member
            else:
                groups.append(member)


def _add(policy: Policy, claim: str, value: Any, *, tee: bool = True) -> None:
    """Ask one condition more of every authority. `tee`: of the hardware, below the prefix where the policy has it."""
    for clause in policy["anyOf"]:
        prefix = TEE if tee and _for_guests(clause) else ""
        group = clause.get("allOf")
        if group is None:
            group = clause["allOf"] = [{"anyOf": clause.pop("anyOf")}]
        group.append({"claim": f"{prefix}{claim}", "equals": value})


def _for_guests(clause: Policy) -> bool:
    return any(str(condition["claim"]).startswith(TEE) for condition in _conditions({"anyOf": [clause]}))


def _rewrite(policy: Policy, claim: str, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the conditions on one claim, with or without the prefix."""
    for condition in _conditions(policy):
        if str(condition["claim"]).removeprefix(TEE) == claim:
            change(condition)


def _ask(condition: dict[str, Any], value: Any, operator: str = "equals") -> None:
    """Let a condition ask for a value by one operator, whatever it asked before."""
    claim = condition["claim"]
    condition.clear()
    condition.update({"claim": claim, operator: value})


def _missing_prefix(policy: Policy) -> None:
    for condition in _conditions(policy):
        condition["claim"] = str(condition["claim"]).removeprefix(TEE)


def _extra_prefix(policy: Policy) -> None:
    if any(_for_guests(clause) for clause in policy["anyOf"]):
        _add(policy, "secureboot", True)  # which a guest token has at its top
        return
    for condition in _conditions(policy):
        condition["claim"] = f"{TEE}{condition['claim']}"


def _claim_typo(policy: Policy) -> None:
    _rewrite(
        policy,
        "x-ms-compliance-status",
        lambda condition: condition.update(claim=str(condition["claim"]).replace("compliance", "complience")),
    )


def _letter_case(policy: Policy) -> None:
    _rewrite(policy, "x-ms-compliance-status", lambda condition: _ask(condition, "Azure-Compliant-CVM"))


def _compliance_status(policy: Policy) -> None:
    _rewrite(policy, "x-ms-compliance-status", lambda condition: _ask(condition, "azure-compliant-uvm"))


def _debug(policy: Policy) -> None:
    def change(condition: dict[str, Any]) -> None:
        condition["claim"] = str(condition["claim"]).replace("x-ms-compliance-status", "x-ms-sevsnpvm-is-debuggable")
        _ask(condition, False)

    _rewrite(policy, "x-ms-compliance-status", change)


def _operator(policy: Policy) -> None:
    _rewrite(policy, "x-ms-compliance-status", lambda condition: _ask(condition, "azure-compliant-uvm", "notEquals"))


def _authority_region(policy: Policy) -> None:
    for clause in policy["anyOf"]:
        clause["authority"] = OTHER_REGION


def _authority_typo(policy: Policy) -> None:
    for clause in policy["anyOf"]:
        clause["authority"] = str(clause["authority"]).removesuffix("/") + "/attest/AzureGuest"


def _asks(claim: str, value: Any, *, tee: bool = True) -> Mistake:
    return lambda policy: _add(policy, claim, value, tee=tee)


def _policy(name: str, title: str, does: str, mistake: Mistake) -> Fault:
    return Fault(name=f"policy.{name}", group="policy", title=title, does=does, apply=_spoil(mistake), undo=_mend)


FAULTS: tuple[Fault, ...] = (
    _policy(
        "missing-prefix",
        "The policy asks at the top for what a guest token has below x-ms-isolation-tee",
        "Takes x-ms-isolation-tee. off every claim of every policy.",
        _missing_prefix,
    ),
    _policy(
        "extra-prefix",
        "The policy asks below x-ms-isolation-tee for what the token has at the top",
        "Asks for x-ms-isolation-tee.secureboot, which is no claim; policies for platform tokens get the prefix "
        "before every claim.",
        _extra_prefix,
    ),
    _policy(
        "claim-typo",
        "A claim's name is misspelt in the policy",
        "Misspells x-ms-compliance-status.",
        _claim_typo,
    ),
    _policy(
        "letter-case",
        "A value in the policy is written in another case",
        "Asks for Azure-Compliant-CVM, where the token has it in small letters.",
        _letter_case,
    ),
    _policy(
        "boolean-text",
        "A truth value in the policy is written as another text",
        'Asks for x-ms-sevsnpvm-is-debuggable to be "False", where a vault compares with "false".',
        _asks("x-ms-sevsnpvm-is-debuggable", "False"),
    ),
    _policy(
        "authority-region",
        "The policy names the attestation provider of another region",
        f"Puts {OTHER_REGION} in the place of every authority.",
        _authority_region,
    ),
    _policy(
        "authority-typo",
        "The policy's authority is an address, and not the issuer",
        "Writes the path of the attestation request after every authority.",
        _authority_typo,
    ),
    _policy(
        "compliance-status",
        "The policy asks for the compliance of containers",
        "Asks for azure-compliant-uvm, which confidential containers have, instead of azure-compliant-cvm.",
        _compliance_status,
    ),
    _policy(
        "other-vm",
        "The policy is bound to another VM",
        "Asks for the vmUniqueId of a VM that is not there, as after a redeployment.",
        _asks("x-ms-runtime.vm-configuration.vmUniqueId", OTHER_VM),
    ),
    _policy(
        "launch-measurement",
        "The policy is bound to an older paravisor",
        "Asks for another launch measurement than that of the paravisor that runs.",
        _asks("x-ms-sevsnpvm-launchmeasurement", "ab" * 48),
    ),
    _policy(
        "firmware-svn",
        "The policy is bound to another version of the firmware",
        "Asks for a security version of the SNP firmware that the host does not report.",
        _asks("x-ms-sevsnpvm-snpfw-svn", 1),
    ),
    _policy(
        "host-data",
        "The policy is bound to other host data",
        "Asks for HOST_DATA of another container policy.",
        _asks("x-ms-sevsnpvm-hostdata", "cd" * 32),
    ),
    _policy(
        "debug",
        "The policy forbids debugging, and the VM can be debugged",
        "Asks for x-ms-sevsnpvm-is-debuggable to be false in place of x-ms-compliance-status, and lets the hardware "
        "report a guest that can be debugged.",
        _debug,
    ),
    _policy(
        "operator",
        "The policy compares by another operator than equals",
        "Asks for x-ms-compliance-status by notEquals, which the service does not document as working.",
        _operator,
    ),
    _policy(
        "secure-boot",
        "The policy asks of the boot what this system does not do",
        "Asks for x-ms-azurevm-elam-enabled to be true, which it is on Windows alone.",
        _asks("x-ms-azurevm-elam-enabled", True, tee=False),
    ),
)
