"""Who may reach a vault or Managed HSM over the network: the members of its body, taken over when they are understood.

A rule that is misspelled must not leave open what was to be shut. Azure's texts for these are not known (inferred).
"""

from __future__ import annotations

import ipaddress
from typing import Any

from skrkit.sandbox.arm import errors
from skrkit.sandbox.arm.call import Call

_ACCESS = ("enabled", "disabled")
_CHOICES = {"defaultAction": ("Allow", "Deny"), "bypass": ("AzureServices", "None")}


def take_network(call: Call, properties: dict[str, Any], given: dict[str, Any]) -> None:
    """Take `publicNetworkAccess` and `networkAcls` over from a body's `given` properties. Raises `AzureError` 400."""
    access = given.get("publicNetworkAccess")
    if access is not None:
        if str(access).lower() == "securedbyperimeter":
            raise errors.not_here("network security perimeters")
        if str(access).lower() not in _ACCESS:
            raise _wrong("publicNetworkAccess", "'Enabled' or 'Disabled'", access)
        properties["publicNetworkAccess"] = str(access)
    if given.get("networkAcls") is not None:
        rules = call.object_of("networkAcls", given)
        _check(rules)
        properties["networkAcls"] = rules


def _check(rules: dict[str, Any]) -> None:
    for name, choices in _CHOICES.items():
        if rules.get(name) is not None and str(rules[name]).lower() not in [choice.lower() for choice in choices]:
            raise _wrong(f"networkAcls.{name}", f"'{choices[0]}' or '{choices[1]}'", rules[name])
    for address in _members(rules, "ipRules", "value"):
        try:
            ipaddress.IPv4Network(address, strict=False)
        except ValueError:
            raise _wrong("networkAcls.ipRules", "IPv4 addresses or ranges in CIDR notation", address) from None
    _members(rules, "virtualNetworkRules", "id")


def _members(rules: dict[str, Any], name: str, member: str) -> list[str]:
    """Return one member of each rule in a list. Raises `AzureError` 400 for anything else."""
    given = rules.get(name) or []
    found = [rule.get(member) if isinstance(rule, dict) else None for rule in given] if isinstance(given, list) else [0]
    if not all(isinstance(value, str) for value in found):
        raise _wrong(f"networkAcls.{name}", f"a list of objects with '{member}'", given)
    return [str(value) for value in found]


def _wrong(name: str, expected: str, found: Any) -> Exception:
    return errors.bad_request(f"The property '{name}' is invalid: expected {expected}, found '{str(found)[:80]}'.")
