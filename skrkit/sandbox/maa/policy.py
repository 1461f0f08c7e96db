"""The attestation policies of each provider: which is in force, how it is changed, and what it says of claims.

A shared provider has its defaults, which nobody changes; another has them until its owner sets his own.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from skrkit.attestation_policy.claims import incoming_claims
from skrkit.attestation_policy.evaluate import Applied, evaluate
from skrkit.attestation_policy.form import policy_hash, policy_in, unsigned_policy
from skrkit.attestation_policy.model import AttestationPolicy, Claim, Literal
from skrkit.attestation_policy.parse import parse_attestation_policy
from skrkit.encoding import b64url
from skrkit.errors import ParseError, PolicyError
from skrkit.sandbox.maa.jws import Opened, bad_token, open_jws
from skrkit.sandbox.maa.refusal import denied, not_evaluated, not_parsed
from skrkit.sandbox.maa.signers import require_signer
from skrkit.wire import Json

if TYPE_CHECKING:
    from skrkit.sandbox.maa.providers import Provider
    from skrkit.sandbox.world import World

KIND = (
    "maa-policy"  # host name, blank, attestation type in lower case -> {"jws": str, "text": str, "signer": JWK or null}
)
TYPES = ("azureguest", "sevsnpvm", "tdxvm", "sgxenclave", "openenclave", "tpm")
"""The attestation types that have a policy, as paths name them, in lower case."""

# The rules are known from a third party that edits this policy. Its layout is not, so this text does not have the hash
# that the real service's tokens show, which is quoted for it: a constant from 2022 to 2025.
AZURE_GUEST_TEXT = """version= 1.0;
authorizationrules
{
    [type=="x-ms-azurevm-default-securebootkeysvalidated", value==false] => deny();
    [type=="x-ms-azurevm-debuggersdisabled", value==false] => deny();
    [type=="secureboot", value==false] => deny();
    [type=="x-ms-azurevm-signingdisabled", value==false] => deny();
    [type=="x-ms-azurevm-dbvalidated", value==false] => deny();
    [type=="x-ms-azurevm-dbxvalidated", value==false] => deny();
    => permit();
};
issuancerules
{
};"""
AZURE_GUEST_HASH = "wm9mHlvTU82e8UqoOy1Yj1FBRSNkfe99-69IYDq9eWs"
# These two are the real texts, to the last blank: they have the hashes that its tokens show.
SEV_SNP_TEXT = "version= 1.0;authorizationrules{=> permit();};"
TDX_TEXT = "version= 1.0;\n\nauthorizationrules\n{\n    => permit();\n};\n\nissuancerules\n{\n};"
DENYING_TEXT = "version= 1.0;authorizationrules{=> deny();};"  # of the fault evidence.maa-policy

DEFAULTS = {"azureguest": AZURE_GUEST_TEXT, "sevsnpvm": SEV_SNP_TEXT, "tdxvm": TDX_TEXT}
"""The policy until somebody sets one. TPM has none in the real service; the sandbox does not know that of SGX."""
_QUOTED = {AZURE_GUEST_TEXT: AZURE_GUEST_HASH}
_PLACE = re.compile(r"line (\d+), column (\d+)\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """A policy as it is in force: its text, the JWS that it came in, and the key of whoever signed that."""

    text: str
    jws: str
    signer: dict[str, Json] | None = None

    def claims(self) -> dict[str, Json]:
        """Return what a token says of the policy that it was made under."""
        said: dict[str, Json] = {"x-ms-policy-hash": _QUOTED.get(self.text) or policy_hash(self.text)}
        return said if self.signer is None else {**said, "x-ms-policy-signer": {"jwk": self.signer}}


def in_force(world: World, host: str, kind: str) -> InForce | None:
    """Return the policy of a provider for an attestation type, lower case; None for a type that has none yet."""
    if kind == "azureguest" and world.faulty("evidence.maa-policy"):
        return _unsigned(DENYING_TEXT)
    document = world.store.get(KIND, f"{host} {kind}")
    if document is not None:
        return InForce(text=document["text"], jws=document["jws"], signer=document["signer"])
    text = DEFAULTS.get(kind)
    return None if text is None else _unsigned(text)


def _unsigned(text: str) -> InForce:
    return InForce(text=text, jws=unsigned_policy(text))


def draft(text: str) -> InForce:
    """Return a policy that a client sends along to be tried: its text, or a JWS. Raises `AzureError` 400."""
    if text.startswith("eyJ"):
        opened = open_jws(text)
        return _checked(opened)
    _parsed_or_refused(text)
    return _unsigned(text)


def set_policy(world: World, provider: Provider, kind: str, text: str) -> dict[str, Json]:
    """Return the claims of the answer, once the uploaded policy is in force. Raises `AzureError` 400."""
    opened = open_jws(text)
    require_signer(world, provider, opened)
    made = _checked(opened)
    world.store.put(KIND, f"{provider.host} {kind}", {"jws": made.jws, "text": made.text, "signer": made.signer})
    token_hash = b64url(hashlib.sha256(opened.text.encode("ascii")).digest())
    said: dict[str, Json] = {"x-ms-policy-result": "Updated", "x-ms-policy-token-hash": token_hash}
    return said if opened.signer is None else {**said, "x-ms-policy-signer": opened.signer}


def reset_policy(world: World, provider: Provider, kind: str, text: str) -> dict[str, Json]:
    """Return the claims of the answer, once the default is in force again. The JWS that asks for it is empty.

    The answer has neither its hash nor its signer, as recordings of the Azure CLI and of the Python client show.
    """
    opened = open_jws(text)
    require_signer(world, provider, opened)
    world.store.delete(KIND, f"{provider.host} {kind}")
    return {"x-ms-policy-result": "Removed"}


def _checked(opened: Opened) -> InForce:
    try:
        text = policy_in(opened.payload)
    except ParseError as cause:
        raise bad_token(f"the payload has no AttestationPolicy: {cause.expected} is needed") from None
    _parsed_or_refused(text)
    return InForce(text=text, jws=opened.text, signer=opened.signer)


def _parsed_or_refused(text: str) -> AttestationPolicy:
    try:
        return _parsed(text)
    except PolicyError as cause:
        place = _PLACE.search(cause.where)
        line, column = place.groups() if place else ("0", "0")
        raise not_parsed(cause, line=line, column=column) from None


@lru_cache(maxsize=32)
def _parsed(text: str) -> AttestationPolicy:
    return parse_attestation_policy(text)


def judge(policy: InForce, claims: Mapping[str, Json]) -> dict[str, Json]:
    """Return what the policy adds to a token. Raises `AzureError` 400 PolicyEvaluationError when it does not permit.

    What it issues stands in `x-ms-policy`, out of the way of the service's own claims. That this is so for
    confidential VMs is not documented (inferred from samples for TPMs, which read it there).
    """
    try:
        verdict = evaluate(_parsed(policy.text), incoming_claims(claims))
    except PolicyError as cause:
        raise not_evaluated(cause) from None
    if not verdict.permitted:
        raise denied([named for each in verdict.denials[:1] for named in _named(each)])
    issued = _as_members(verdict.issued)
    return {**policy.claims(), "x-ms-policy": issued} if issued else policy.claims()


def _named(applied: Applied) -> list[tuple[str, str]]:
    """Return the claims whose value a denying rule found, as the newer answers name them: type and value."""
    found: list[tuple[str, str]] = []
    for condition in applied.rule.conditions:
        operands = {
            test.member: test.operand.value
            for test in condition.tests
            if test.operator == "==" and isinstance(test.operand, Literal)
        }
        if {"type", "value"} <= operands.keys() and not condition.negated:
            value = operands["value"]
            found.append((str(operands["type"]), str(value).lower() if isinstance(value, bool) else str(value)))
    return found


def _as_members(issued: tuple[Claim, ...]) -> dict[str, Json]:
    """Return issued claims as JSON members: several of one type are an array (inferred)."""
    members: dict[str, list[Json]] = {}
    for claim in issued:
        members.setdefault(claim.type, []).append(claim.value)
    return {name: values[0] if len(values) == 1 else values for name, values in members.items()}
