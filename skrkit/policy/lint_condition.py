"""Whether one condition can be met by a token of Azure Attestation, and for how long."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches
from functools import cache, lru_cache

from skrkit.encoding import json_type
from skrkit.policy.claim_lifetime import Lasts, lifetime_of
from skrkit.policy.lint_rules import Draft
from skrkit.policy.model import Condition, Operator, Scalar
from skrkit.token.catalogue import TEE, catalogue, explain_claim
from skrkit.token.claim_fact import ClaimFact, ClaimType

VALUES = {
    "x-ms-attestation-type": ("azurevm", "sevsnpvm", "tdxvm", "sgx", "tpm"),
    "x-ms-compliance-status": ("azure-compliant-cvm", "azure-compliant-uvm"),
    "dbgstat": ("disabled", "enabled"),
}
"""The values that Azure Attestation documents, of claims that have few."""

_TOP_ONLY = frozenset({"iss", "iat", "nbf", "exp", "jti", "x-ms-ver", "x-ms-policy-hash", "x-ms-policy-signer"})
_PLACE = re.compile(r"\[.*\]|\.[0-9]+(\.|$)")
_INTEGER = re.compile(r"0|-?[1-9][0-9]*")
_LASTING = {
    Lasts.TOKEN: "claim.every-token",
    Lasts.BOOT: "claim.every-boot",
    Lasts.FIRMWARE: "claim.firmware",
    Lasts.PARAVISOR: "claim.paravisor",
    Lasts.PROVIDER: "claim.provider",
    Lasts.VM: "claim.one-vm",
    Lasts.GUEST: "claim.guest",
}


@cache
def known_paths() -> dict[str, str]:
    """Return every path of a claim that a token can have, by its lower-case form."""
    paths = [fact.path for fact in catalogue() if "*" not in fact.path]
    below = [f"{TEE}.{path}" for path in paths if level_fault(f"{TEE}.{path}") is None]
    return {path.lower(): path for path in (*below, *paths)}


def level_fault(path: str) -> str | None:
    """Return where a claim stands that is asked for at a level where no token has it; None for any other path."""
    name = path.removeprefix(f"{TEE}.")
    if name == path or explain_claim(name) is None:
        return None
    return name if name in _TOP_ONLY or explain_claim(path) is None else None


@lru_cache(maxsize=256)  # a policy asks for the same few claims of every authority, and repairs ask again
def path_draft(path: str, *, search: bool = True) -> tuple[Draft, str] | None:
    """Return what is wrong with a claim's path and the path that was meant, or None for a claim that is known.

    Without `search` no similar spelling is looked for, which takes the time of a thousand other checks.
    """
    above = level_fault(path)
    if above is not None:
        what, fix = f"{path} stands at the top of the token", f"Write {above}"
        return Draft("claim.level", what, fix, "/claim"), above
    if explain_claim(path) is not None or "[" in path:  # a place in an array is a matter of its own
        return None
    same = known_paths().get(path.lower())
    if same is not None:
        return Draft("claim.case", f"{path}: the claim is written {same}", f"Write {same}", "/claim"), same
    near = get_close_matches(path, known_paths().values(), n=1, cutoff=0.87) if search else []
    if near:
        what, fix = f"{path} is no claim of Azure Attestation; {near[0]} is", f"Write {near[0]}"
        return Draft("claim.misspelt", what, fix, "/claim"), near[0]
    fix = "Hold it against the claims of a real token."
    return Draft("claim.unknown", f"{path} is no claim that Azure Attestation documents", fix, "/claim"), path


def condition_drafts(condition: Condition, path: str) -> Iterator[Draft]:
    """Return what is odd about a condition on the claim that was meant, `path`: its kind, its value, its lifetime."""
    if condition.operator is not Operator.EQUALS:
        what = f"{condition.claim}: {condition.operator.value} counts as not met"
        fix = "Write equals; for several values, anyOf with one condition each."
        yield Draft("operator.not-equals", what, fix, f"/{condition.operator.value}")
        return
    fact = explain_claim(path)
    unreachable = _unreachable(path, fact)
    if unreachable is not None:
        yield unreachable
        return
    if fact is not None:
        value = value_draft(fact, condition.value)
        if value is not None:
            yield value[0]
    yield from _lasting(path)


def _unreachable(path: str, fact: ClaimFact | None) -> Draft | None:
    steps = path.removeprefix(f"{TEE}.").split(".")
    above = [explain_claim(".".join(steps[:count])) for count in range(1, len(steps))]
    if _PLACE.search(path) or any(parent is not None and parent.type is ClaimType.ARRAY for parent in above):
        return Draft("claim.in-array", f"{path} leads into an array", "Ask for a claim outside arrays.", "/claim")
    if fact is not None and fact.type in (ClaimType.OBJECT, ClaimType.ARRAY):
        what = f"{path} is a JSON {fact.type.value}"
        return Draft("claim.not-scalar", what, "Ask for a text, number or boolean inside it.", "/claim")
    return None


def _lasting(path: str) -> Iterator[Draft]:
    lifetime = lifetime_of(path)
    rule = _LASTING.get(lifetime.lasts)
    if rule is not None:
        costs = f"Made again: {lifetime.made_again} Firmware: {lifetime.firmware}"
        if lifetime.lasts in (Lasts.TOKEN, Lasts.BOOT, Lasts.GUEST):
            costs = "Take the condition out, or ask for a claim that the hardware vouches for."
        yield Draft(rule, f"{path} {_WORDS[lifetime.lasts]}", costs)
    name = path.removeprefix(f"{TEE}.")
    if name.startswith("x-ms-runtime."):
        yield Draft("claim.runtime", f"{path} is runtime data", "Try it before you rely on it.", "/claim")


_WORDS = {
    Lasts.TOKEN: "is of one token",
    Lasts.BOOT: "is of one start of the VM",
    Lasts.FIRMWARE: "is of the host's firmware",
    Lasts.PARAVISOR: "is of one paravisor release",
    Lasts.PROVIDER: "is of the provider's attestation policy",
    Lasts.VM: "is of one VM or workload",
    Lasts.GUEST: "is what the guest says of itself",
}


def value_draft(fact: ClaimFact, value: Scalar) -> tuple[Draft, Scalar | None] | None:
    """Return what is wrong with the value that a known claim is compared with, and the value that was meant.

    The second is None where it cannot be told.
    """
    text = value if isinstance(value, str) else None
    if text is not None and text != text.strip():
        what = f"{text!r} begins or ends with white space"
        return Draft("value.blank", what, f"Write {text.strip()!r}".replace("'", '"'), "/equals"), text.strip()
    if fact.path in VALUES:
        return _listed(value, VALUES[fact.path])
    if fact.type is ClaimType.BOOLEAN:
        return _boolean(fact, value)
    if fact.type is ClaimType.INTEGER:
        return _integer(fact, value)
    if fact.type in (ClaimType.HEX, ClaimType.GUID):
        return _letters(fact, value)
    return None


def _listed(value: Scalar, known: tuple[str, ...]) -> tuple[Draft, Scalar | None] | None:
    if value in known:
        return None
    same = next((item for item in known if isinstance(value, str) and item == value.lower()), None)
    if same is not None:
        return Draft("value.case", f"{value!r}: the value is written {same!r}", f"Write {same}", "/equals"), same
    near = get_close_matches(str(value), known, n=1, cutoff=0.6)
    fix = f"Write {near[0]}" if near else f"Write one of {', '.join(known)}."
    return Draft("value.unknown", f"{value!r} is none of {', '.join(known)}", fix, "/equals"), None


def _boolean(fact: ClaimFact, value: Scalar) -> tuple[Draft, Scalar | None] | None:
    if isinstance(value, bool) or value in ("true", "false"):
        return None
    meant = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}.get(str(value).lower())
    fix = "Write true or false." if meant is None else f"Write {'true' if meant else 'false'}."
    return Draft("value.boolean", f"{fact.path} is a boolean, and is compared with {value!r}", fix, "/equals"), meant


def _integer(fact: ClaimFact, value: Scalar) -> tuple[Draft, Scalar | None] | None:
    number = value.is_integer() if isinstance(value, float) else not isinstance(value, bool)
    if number and (not isinstance(value, str) or _INTEGER.fullmatch(value)):
        return None
    try:
        meant = int(value, 0) if isinstance(value, str) and len(value) < 40 else None
    except ValueError:
        meant = int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else None
    fix = "Write a whole number." if meant is None else f"Write {meant}."
    return Draft("value.number", f"{fact.path} is a number, and is compared with {value!r}", fix, "/equals"), meant


def _letters(fact: ClaimFact, value: Scalar) -> tuple[Draft, Scalar | None] | None:
    if not fact.allows(value):
        size = f" of {fact.hex_digits} digits" if fact.hex_digits else ""
        found = f"{len(value)} characters" if isinstance(value, str) else f"a JSON {json_type(value)}"
        what = f"{fact.path} is {fact.type.value}{size}, and is compared with {found}"
        meant = value.lower().removeprefix("0x") if isinstance(value, str) else ""
        told = meant if fact.allows(meant) and meant else None
        fix = f"Write {told}" if told else "Copy the value from a real token."
        return Draft("value.form", what, fix, "/equals"), told
    text = str(value)
    if fact.type is ClaimType.HEX and text != text.lower() and fact.path != "x-ms-runtime.user-data":
        what = f"{fact.path}: Azure Attestation writes hex in lower case"
        return Draft("value.case", what, f"Write {text.lower()}", "/equals"), text.lower()
    if fact.type is ClaimType.GUID and text != text.upper() and fact.path.lower().endswith(("vmid", "vmuniqueid")):
        what = f"{fact.path}: Azure writes {text.upper()}"
        return Draft("value.guid-case", what, f"Write {text.upper()}", "/equals"), text.upper()
    return None
