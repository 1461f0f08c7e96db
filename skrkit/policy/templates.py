"""Release policies that are ready to use, for confidential VMs."""

from __future__ import annotations

import json

from skrkit.errors import UsageError
from skrkit.policy.model import ReleasePolicy
from skrkit.policy.parse import parse_policy

GUEST_PREFIX = "x-ms-isolation-tee."


def cvm_policy(authority: str, *, guest: bool = True) -> ReleasePolicy:
    """Return the policy "an SEV-SNP confidential VM that Azure calls compliant, vouched for by this provider".

    `authority` is an attestation provider's base URL, https, with or without a trailing slash. With `guest` the
    claims are asked under `x-ms-isolation-tee`, where guest attestation puts them; without, at the top, where
    platform attestation does. Raises `UsageError` for another URL. Source: Key Vault reference, ready policies.
    """
    host = authority.removesuffix("/").removeprefix("https://")
    if not authority.startswith("https://") or not host or any(mark in host for mark in "/?#@ "):
        raise UsageError(
            what="attestation provider",
            where="argument authority",
            expected="https:// and a host, such as https://sharedweu.weu.attest.azure.net",
            found=repr(authority),
            fix="Take the attestUri of your region's shared provider.",
        )
    prefix = GUEST_PREFIX if guest else ""
    conditions = [
        {"claim": f"{prefix}x-ms-attestation-type", "equals": "sevsnpvm"},
        {"claim": f"{prefix}x-ms-compliance-status", "equals": "azure-compliant-cvm"},
    ]
    clause = {"authority": f"https://{host}", "allOf": conditions}
    return parse_policy(json.dumps({"version": "1.0.0", "anyOf": [clause]}, separators=(",", ":")))
