"""Claims of every attestation type. Source: Azure Attestation, claim sets; captured tokens; JWT (RFC 7519)."""

from __future__ import annotations

from skrkit.token.claim_fact import ClaimFact as F
from skrkit.token.claim_fact import ClaimType as T

COMMON = (
    F("iss", T.STRING, "The provider that vouches for the token, its base URL without a trailing slash.",
      "the provider that was asked"),
    F("iat", T.INTEGER, "When the token was issued, in seconds since 1970.", "the service's clock"),
    F("nbf", T.INTEGER, "When the token begins to hold; equal to iat.", "the service's clock"),
    F("exp", T.INTEGER, "When the token ends: eight hours after iat, not configurable.", "iat + 28800"),
    F("jti", T.STRING, "The token's own id, 64 hex digits."),
    F("x-ms-ver", T.STRING, "The version of the claims' schema, 1.0."),
    F("x-ms-attestation-type", T.STRING,
      "What was attested: azurevm for a guest, sevsnpvm or tdxvm for hardware evidence, sgx, tpm.",
      "the endpoint that was called; below x-ms-isolation-tee, the type of the evidence"),
    F("x-ms-policy-hash", T.STRING, "base64url of the digest of the attestation policy in force at evaluation."),
    F("x-ms-policy-signer", T.OBJECT, "The key that signed the attestation policy; only if it was uploaded signed."),
    F("x-ms-policy", T.OBJECT, "Claims that the provider's own policy issued.", inferred=True),
    F("x-ms-runtime", T.OBJECT,
      "The runtime data: at the top of a guest token the client's payload and the key to wrap for, "
      "otherwise the paravisor's runtime claims.",
      "runtime data of the request; its SHA-256 is in REPORT_DATA (0x50) when it is the paravisor's"),
    F("x-ms-inittime", T.OBJECT, "The data given at the start of the TEE.", "initTimeData of the request"),
    F("nonce", T.STRING, "The nonce of a platform attestation, as it was sent.", "nonce of the request"),
    F("x-ms-compliance-status", T.STRING,
      "azure-compliant-cvm: paravisor and firmware are a published, healthy Azure version. "
      "Compare for equality; absence means no. Containers get azure-compliant-uvm."),
)  # fmt: skip
