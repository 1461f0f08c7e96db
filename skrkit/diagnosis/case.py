"""A case: all that is known of one attempt at a release, live or saved. Every part may be missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from skrkit.wire import Json

EVIDENCE_NAMES = (
    "hcl-report",
    "vcek",
    "chain",
    "ak-certificate",
    "ak-public",  # TPM2B_PUBLIC of the key that signed the quote; without it, HCLAkPub of the report is taken
    "quote",
    "quote-signature",
    "pcrs",  # JSON: index as text to the SHA-256 value in hex
    "event-log",
    "key-public",  # TPM2B_PUBLIC of the ephemeral key, its certification by the AK, and that one's signature
    "key-certify",
    "key-certify-signature",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One HTTP request and its answer, without secrets. `status` 0 means that no answer came; `error` says why.

    Status 0 with a body is an answer whose status was not kept.

    `service` is who was asked: "imds", "entra", "arm", "vault", "maa", "kds", or empty when not known. Bodies are JSON
    values, or text where they were not JSON; a secret in them is a digest.
    """

    service: str
    method: str
    url: str
    request_headers: Mapping[str, str] = field(default_factory=dict)
    request_body: Json = None
    status: int
    response_headers: Mapping[str, str] = field(default_factory=dict)
    response_body: Json = None
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is known. An empty text, mapping or tuple means: not known, which is not the same as not there.

    `at` is when it happened (aware). `error` is what skrkit's own client raised, as its `to_json()`, empty for another
    client. `exchanges` are in order, the last is the one that failed. `access_token` are the claims of the caller's
    token at the vault. `token` is the attestation token as sent (bytes of the compact JWS), `claims` its claims where
    the token itself was left out: then `token_header` is its header, and `token_verdict` what its verification said
    when it was there ("verdict" ok or failed, and the members of the error, its "step" among them). `jwks` is what
    `authority`, the attestation provider that was configured, publishes.
    `policy` is the key's release policy as text, `key` the vault's key bundle, `vault` and `vm` ARM's resources,
    `instance` IMDS's compute document. `evidence` is raw, by the names of EVIDENCE_NAMES. `asked` is what the client
    asked for: "vault", "key", "version", "enc", "nonce", "resource_group", "vm", "object_id".
    `machine` is what the machine says of itself, by check id of the doctor. `world` is "azure", "sandbox", or empty
    where it is not known; `faults` are the names of the sandbox's faults that are on. `amd_roots` are the roots that
    evidence is held against, product line to SHA-256 of the ARK's SPKI, where these are not AMD's own.
    """

    at: datetime | None = None
    error: Mapping[str, Json] = field(default_factory=dict)
    exchanges: tuple[Exchange, ...] = ()
    access_token: Mapping[str, Json] = field(default_factory=dict)
    token: bytes = field(default=b"", repr=False)
    claims: Mapping[str, Json] = field(default_factory=dict, repr=False)
    token_header: Mapping[str, Json] = field(default_factory=dict)
    token_verdict: Mapping[str, Json] = field(default_factory=dict)
    jwks: bytes = field(default=b"", repr=False)
    authority: str = ""
    policy: bytes = field(default=b"", repr=False)
    key: Mapping[str, Json] = field(default_factory=dict)
    vault: Mapping[str, Json] = field(default_factory=dict)
    vm: Mapping[str, Json] = field(default_factory=dict)
    instance: Mapping[str, Json] = field(default_factory=dict)
    evidence: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    asked: Mapping[str, str] = field(default_factory=dict)
    machine: Mapping[str, Json] = field(default_factory=dict)
    world: str = ""
    faults: tuple[str, ...] = ()
    amd_roots: Mapping[str, str] = field(default_factory=dict)
