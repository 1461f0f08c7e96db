"""A policy on its way to a provider and back: its hash, and the JSON Web Signature that it travels in.

Source: Azure Attestation, "How to author an attestation policy"; RFC 7515.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from skrkit.encoding import b64url, b64url_bytes, json_object
from skrkit.errors import ParseError
from skrkit.wire import Json

MEMBER = "AttestationPolicy"
UNSIGNED_HEADER = "eyJhbGciOiJub25lIn0"
"""`{"alg":"none"}` in base64url, as every client of the service sends it."""


def policy_hash(text: str) -> str:
    """Return the `x-ms-policy-hash` of a policy: SHA-256 over the base64url of the text, itself in base64url.

    Every blank counts: two texts with the same rules have two hashes.
    """
    return b64url(hashlib.sha256(b64url(text.encode("utf-8")).encode("ascii")).digest())


def unsigned_policy(text: str) -> str:
    """Return a policy as a JWS that nobody signed: what a provider takes that has no policy signers."""
    payload = json.dumps({MEMBER: b64url(text.encode("utf-8"))}, separators=(",", ":"))
    return f"{UNSIGNED_HEADER}.{b64url(payload.encode())}."


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedPolicy:
    """The text in a policy's JWS. `signed_by` is the header's key or certificates as they came; None for unsigned.

    Nothing is verified here.
    """

    text: str
    signed_by: dict[str, Json] | None = None


def opened_policy(jws: str) -> OpenedPolicy:
    """Return what a policy's JWS holds, its text empty where the payload is. Raises `ParseError`."""
    parts = jws.split(".")
    if len(parts) != 3:
        raise ParseError(
            what="policy token",
            where="the whole text",
            expected="a JWS in compact form: three parts",
            found=f"{len(parts)} parts",
            fix="This is not a policy as a provider has it: check the file, or the URL.",
        )
    header = json_object(b64url_bytes(parts[0], what="policy token", where="its header"), what="header", where="")
    payload = b64url_bytes(parts[1], what="policy token", where="its payload")
    named = {name: value for name, value in header.items() if name in ("jwk", "x5c")}
    signed = None if header.get("alg") == "none" else named
    return OpenedPolicy(text=policy_in(payload) if payload else "", signed_by=signed)


def policy_in(payload: bytes) -> str:
    """Return the policy's text out of a JWS payload. Raises `ParseError` for a payload that has none."""
    document = json_object(payload, what="policy token", where="its payload")
    value = document.get(MEMBER)
    if not isinstance(value, str):
        raise _no_policy(f"members {', '.join(sorted(document))[:100] or 'none'}")
    try:
        return b64url_bytes(value.rstrip("="), what=MEMBER, where=f"/{MEMBER}").decode("utf-8")
    except UnicodeDecodeError:
        raise _no_policy("bytes that are not UTF-8") from None


def _no_policy(found: str) -> ParseError:
    return ParseError(
        what="policy token",
        where=f"/{MEMBER}",
        expected="the base64url of a policy's text",
        found=found,
        fix="Wrap the text anew: skrkit maa encode FILE",
        source="Azure Attestation, how to author an attestation policy",
    )
