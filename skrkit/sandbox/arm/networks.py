"""Networks as resources that are kept and shown: security groups, virtual networks, public addresses, interfaces.

Nothing is connected by them. What they refer to must be there, and what is in use is not deleted.
"""

from __future__ import annotations

import ipaddress
import json
from typing import Any

from starlette.responses import JSONResponse, Response

from skrkit.sandbox import chance
from skrkit.sandbox.arm.call import Call, Handler
from skrkit.sandbox.arm.errors import bad_request
from skrkit.sandbox.arm.stored import rows
from skrkit.sandbox.store import Document
from skrkit.sandbox.web import AzureError

SECURITY_GROUP_TYPE = "Microsoft.Network/networkSecurityGroups"
RULE_TYPE = f"{SECURITY_GROUP_TYPE}/securityRules"
NETWORK_TYPE = "Microsoft.Network/virtualNetworks"
ADDRESS_TYPE = "Microsoft.Network/publicIPAddresses"
INTERFACE_TYPE = "Microsoft.Network/networkInterfaces"
_PRIORITIES = range(100, 4097)
_FIRST_HOST = 4  # Azure keeps the first four addresses of a subnet, and the last


def _parts(call: Call, owner: Document, name: str, kind: str, *, required: bool = False) -> list[Document]:
    """Return the named parts of a resource (rules, subnets, configurations), each with an id of its own."""
    given = owner["properties"].get(name) or []
    if not isinstance(given, list) or not all(isinstance(p, dict) and isinstance(p.get("name"), str) for p in given):
        raise bad_request(f"The property '{name}' must be an array of named objects.", code="InvalidRequestFormat")
    if required and not given:
        raise bad_request(f"The property '{name}' must not be empty.", code="InvalidRequestFormat")
    return [_part(call, owner, part, kind) for part in given]


def _part(call: Call, owner: Document, part: Document, kind: str) -> Document:
    properties = dict(call.object_of("properties", part)) | {"provisioningState": "Succeeded"}
    return {
        "name": part["name"],
        "id": f"{owner['id']}/{kind.rpartition('/')[2]}/{part['name']}",
        "etag": owner["etag"],
        "type": kind,
        "properties": properties,
    }


def _security_group(call: Call, made: Document, _before: Document) -> None:
    rules = _parts(call, made, "securityRules", RULE_TYPE)
    _check_rules(rules)
    made["properties"]["securityRules"] = rules


def _check_rules(rules: list[Document]) -> None:
    taken: set[tuple[Any, Any]] = set()
    for rule in rules:
        priority, direction = rule["properties"].get("priority"), rule["properties"].get("direction")
        if not isinstance(priority, int) or priority not in _PRIORITIES:
            raise bad_request(
                f"Security rule has invalid Priority. Value provided: {priority} Allowed range 100-4096.",
                code="SecurityRuleInvalidPriority",
            )
        if (priority, direction) in taken:
            raise bad_request(
                f"Security rule {rule['name']} conflicts with another rule of the same priority and direction.",
                code="SecurityRuleConflict",
            )
        taken.add((priority, direction))


def _network(call: Call, made: Document, _before: Document) -> None:
    space = call.object_of("addressSpace", made["properties"])
    prefixes = space.get("addressPrefixes")
    if not isinstance(prefixes, list) or not prefixes:
        raise bad_request("The property 'addressSpace.addressPrefixes' must not be empty.", code="InvalidRequestFormat")
    subnets = _parts(call, made, "subnets", f"{NETWORK_TYPE}/subnets")
    for subnet in subnets:
        _check_subnet(call, made, subnet)
    made["properties"]["subnets"] = subnets


def _cidr(prefix: Any) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(str(prefix), strict=False)
    except ValueError:
        raise bad_request(
            f"Address prefix {prefix} is not formatted correctly. It should follow CIDR notation, for example "
            "10.0.0.0/24.",
            code="InvalidAddressPrefixFormat",
        ) from None


def _check_subnet(call: Call, network: Document, subnet: Document) -> None:
    given = subnet["properties"]
    wanted = given.get("addressPrefix") or next(iter(given.get("addressPrefixes") or []), None)
    inside = [_cidr(prefix) for prefix in network["properties"]["addressSpace"]["addressPrefixes"]]
    own = _cidr(wanted)
    if not any(own.version == space.version and own.subnet_of(space) for space in inside):  # type: ignore[arg-type]  # one version
        raise bad_request(
            f"Subnet '{subnet['name']}' is not valid in virtual network '{network['name']}'.",
            code="NetcfgInvalidSubnet",
        )
    _require_reference(call, subnet["id"], given.get("networkSecurityGroup"))


def _require_reference(call: Call, owner: str, reference: Any) -> Document | None:
    """Return what a member `{"id": ...}` refers to, None where there is no member. Raises 400 if it is not there."""
    if reference is None:
        return None
    wanted = str(reference.get("id", "")) if isinstance(reference, dict) else ""
    network, found, name = wanted.partition("/subnets/")
    resource = call.read(network)
    if resource is not None and found:
        subnets = resource["properties"].get("subnets") or []
        resource = next((one for one in subnets if one["name"].lower() == name.lower()), None)
    if resource is None:
        raise bad_request(
            f"Resource {wanted} referenced by resource {owner} was not found. Please make sure that the referenced "
            "resource exists, and that both resources are in the same region.",
            code="InvalidResourceReference",
        )
    return resource


def _as_azure_writes(owner: Document, *names: str) -> None:
    """Give members the names that Azure shows: it takes them in any case, and published templates vary."""
    for name in names:
        for given in [key for key in owner if key != name and key.lower() == name.lower()]:
            owner[name] = owner.pop(given)


def _address(_call: Call, made: Document, before: Document) -> None:
    made.setdefault("sku", {"name": "Standard", "tier": "Regional"})
    properties = made["properties"]
    _as_azure_writes(properties, "publicIPAddressVersion", "publicIPAllocationMethod")
    properties.setdefault("publicIPAddressVersion", "IPv4")
    properties.setdefault("publicIPAllocationMethod", "Static")
    known = (before.get("properties") or {}).get("ipAddress")
    dns = properties.get("dnsSettings")
    if isinstance(dns, dict) and dns.get("domainNameLabel"):
        name = f"{dns['domainNameLabel']}.{made['location']}.cloudapp.azure.com"
        properties["dnsSettings"] = dns | {"fqdn": name}
    # an address of the block that is kept for documentation (RFC 5737): no machine has it
    properties["ipAddress"] = known or f"203.0.113.{chance.token_bytes('arm/address', 1)[0] % 254 + 1}"


def _interface(call: Call, made: Document, before: Document) -> None:
    kind = f"{INTERFACE_TYPE}/ipConfigurations"
    made["properties"]["ipConfigurations"] = _parts(call, made, "ipConfigurations", kind, required=True)
    _require_reference(call, made["id"], made["properties"].get("networkSecurityGroup"))
    known = {part["name"]: part for part in (before.get("properties") or {}).get("ipConfigurations") or []}
    for part in made["properties"]["ipConfigurations"]:
        given = part["properties"]
        _as_azure_writes(given, "publicIPAddress", "privateIPAddress", "privateIPAllocationMethod")
        subnet = _require_reference(call, made["id"], given.get("subnet") or {})
        _require_reference(call, made["id"], given.get("publicIPAddress"))
        given.setdefault("privateIPAllocationMethod", "Dynamic")
        if "privateIPAddress" not in given and subnet is not None:
            had = (known.get(part["name"]) or {}).get("properties") or {}
            same_subnet = (had.get("subnet") or {}).get("id") == given["subnet"]["id"]
            given["privateIPAddress"] = had["privateIPAddress"] if same_subnet else _free_address(call, subnet)
    made["properties"].setdefault("enableAcceleratedNetworking", False)


def _free_address(call: Call, subnet: Document) -> str:
    prefix = subnet["properties"].get("addressPrefix") or subnet["properties"]["addressPrefixes"][0]
    network = _cidr(prefix)
    taken = {
        part["properties"].get("privateIPAddress")
        for one in call.resources(INTERFACE_TYPE, group=False)
        for part in one["properties"]["ipConfigurations"]
        if (part["properties"].get("subnet") or {}).get("id", "").lower() == subnet["id"].lower()
    }
    for place in range(_FIRST_HOST, min(network.num_addresses - 1, _FIRST_HOST + len(taken) + 1)):
        if str(network.network_address + place) not in taken:
            return str(network.network_address + place)
    raise bad_request(f"Subnet {subnet['name']} does not have enough capacity for 1 IP addresses.", code="SubnetIsFull")


def _rules_of(call: Call) -> tuple[Document, list[Document]]:
    group = call.require(SECURITY_GROUP_TYPE, call.path["security_group"])
    return group, list(group["properties"].get("securityRules") or [])


def put_rule(call: Call) -> Response:
    """Return 201 with a new rule of a security group, 200 for one that was there."""
    with call.lock:
        group, rules = _rules_of(call)
        made = _part(call, group, {"name": call.path["name"], "properties": call.object_of("properties")}, RULE_TYPE)
        others = [one for one in rules if one["name"].lower() != made["name"].lower()]
        _check_rules([*others, made])
        group["properties"]["securityRules"] = [*others, made]
        call.write(group)
    return JSONResponse(made, 201 if len(others) == len(rules) else 200)


def get_rule(call: Call) -> Response:
    """Return one rule."""
    _, rules = _rules_of(call)
    found = next((one for one in rules if one["name"].lower() == call.path["name"].lower()), None)
    if found is None:
        security_group = call.resource_id(SECURITY_GROUP_TYPE, call.path["security_group"])
        raise AzureError(404, "NotFound", f"Resource {security_group} has no such security rule.")  # (inferred)
    return JSONResponse(found)


def list_rules(call: Call) -> Response:
    """Return the rules of a security group."""
    return JSONResponse({"value": _rules_of(call)[1]})


def delete_rule(call: Call) -> Response:
    """Return 200 after a rule was deleted, 204 if it was not there."""
    with call.lock:
        group, rules = _rules_of(call)
        kept = [one for one in rules if one["name"].lower() != call.path["name"].lower()]
        group["properties"]["securityRules"] = kept
        call.write(group)
    return Response(status_code=200 if len(kept) < len(rules) else 204)


def _network_of(call: Call) -> tuple[Document, list[Document]]:
    network = call.require(NETWORK_TYPE, call.path["network"])
    return network, list(network["properties"].get("subnets") or [])


def put_subnet(call: Call) -> Response:
    """Return 201 with a new subnet, 200 for one that was there."""
    with call.lock:
        network, subnets = _network_of(call)
        part = {"name": call.path["name"], "properties": call.object_of("properties")}
        made = _part(call, network, part, f"{NETWORK_TYPE}/subnets")
        _check_subnet(call, network, made)
        others = [one for one in subnets if one["name"].lower() != made["name"].lower()]
        network["properties"]["subnets"] = [*others, made]
        call.write(network)
    return JSONResponse(made, 201 if len(others) == len(subnets) else 200)


def get_subnet(call: Call) -> Response:
    """Return one subnet."""
    _, subnets = _network_of(call)
    found = next((one for one in subnets if one["name"].lower() == call.path["name"].lower()), None)
    if found is None:
        raise AzureError(
            404, "NotFound", f"Resource {call.resource_id(NETWORK_TYPE, call.path['network'])} has no such subnet."
        )  # (inferred)
    return JSONResponse(found)


def list_subnets(call: Call) -> Response:
    """Return the subnets of a network."""
    return JSONResponse({"value": _network_of(call)[1]})


def delete_subnet(call: Call) -> Response:
    """Return 200 after a subnet was deleted, 204 if it was not there."""
    with call.lock:
        network, subnets = _network_of(call)
        kept = [one for one in subnets if one["name"].lower() != call.path["name"].lower()]
        if len(kept) == len(subnets):
            return Response(status_code=204)
        gone = next(one for one in subnets if one not in kept)
        for interface in call.resources(INTERFACE_TYPE, group=False):
            if gone["id"].lower() in json.dumps(interface).lower():
                raise bad_request(
                    f"Subnet {gone['name']} is in use by {interface['id']} and cannot be deleted.",
                    code="InUseSubnetCannotBeDeleted",
                )
        network["properties"]["subnets"] = kept
        call.write(network)
    return Response(status_code=200)


_RULES = (
    f"/subscriptions/{{subscription}}/resourceGroups/{{group}}/providers/{SECURITY_GROUP_TYPE}/{{security_group}}"
    "/securityRules"
)
_SUBNETS = f"/subscriptions/{{subscription}}/resourceGroups/{{group}}/providers/{NETWORK_TYPE}/{{network}}/subnets"
ROUTES: tuple[tuple[str, str, str, Handler], ...] = (
    *rows(SECURITY_GROUP_TYPE, _security_group),
    *rows(NETWORK_TYPE, _network),
    *rows(ADDRESS_TYPE, _address),
    *rows(INTERFACE_TYPE, _interface),
    ("PUT", _RULES + "/{name}", f"{RULE_TYPE}/write", put_rule),
    ("GET", _RULES + "/{name}", f"{RULE_TYPE}/read", get_rule),
    ("DELETE", _RULES + "/{name}", f"{RULE_TYPE}/delete", delete_rule),
    ("GET", _RULES, f"{RULE_TYPE}/read", list_rules),
    ("PUT", _SUBNETS + "/{name}", f"{NETWORK_TYPE}/subnets/write", put_subnet),
    ("GET", _SUBNETS + "/{name}", f"{NETWORK_TYPE}/subnets/read", get_subnet),
    ("DELETE", _SUBNETS + "/{name}", f"{NETWORK_TYPE}/subnets/delete", delete_subnet),
    ("GET", _SUBNETS, f"{NETWORK_TYPE}/subnets/read", list_subnets),
)
