"""Claims of a token as a policy sees them coming in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from skrkit.attestation_policy.functions import json_text
from skrkit.attestation_policy.model import FROM_SERVICE, INTEGERS, Claim
from skrkit.wire import Json

MADE_LATER = frozenset({"exp", "iat", "iss", "jti", "nbf", "x-ms-policy-hash", "x-ms-policy-signer", "x-ms-ver"})
"""What the service puts into a token after its policy has run: no policy has seen it."""

READ_ONLY = frozenset({"pcrs"})
"""Raw evidence that a policy may ask about and not issue. `events` is documented in one place as such, and the sample
policies of another issue what they take out of it: here that is allowed (inferred)."""


def incoming_claims(claims: Mapping[str, Json]) -> tuple[Claim, ...]:
    """Return the incoming claims that are in a token's: a set for an array of scalars, JSON text for an object.

    That nested claims can be asked about by JmesPath, and in which form, is not documented for confidential VMs
    (inferred).
    """
    return tuple(claim for name, value in claims.items() if name not in MADE_LATER for claim in _of(name, value))


def _of(name: str, value: Json) -> Iterator[Claim]:
    members = value if isinstance(value, list) and not any(isinstance(each, list | dict) for each in value) else [value]
    for member in members:
        if isinstance(member, dict | list | float):
            member = json_text(member)
        if member is None or (isinstance(member, int) and member not in INTEGERS):
            continue
        yield Claim(type=name, value=member, issuer=FROM_SERVICE, read_only=name in READ_ONLY)
