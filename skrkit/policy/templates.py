"""Release policies that are ready to use: for a confidential VM's guest, its platform, a data disk, a container."""

from __future__ import annotations

import json

from skrkit.errors import UsageError
from skrkit.policy.model import ReleasePolicy
from skrkit.policy.parse import parse_policy
from skrkit.wire import Json

GUEST_PREFIX = "x-ms-isolation-tee."
_TYPE = "x-ms-attestation-type"
_STATUS = "x-ms-compliance-status"


def cvm_policy(authority: str, *, guest: bool = True) -> ReleasePolicy:
    """Return the policy "an SEV-SNP confidential VM that Azure calls compliant, vouched for by this provider".

    `authority` is an attestation provider's base URL, https, with or without a trailing slash. With `guest` the
    claims are asked under `x-ms-isolation-tee`, where guest attestation puts them; without, at the top, where
    platform attestation does. Raises `UsageError` for another URL. Source: Key Vault reference, ready policies.
    """
    prefix = GUEST_PREFIX if guest else ""
    return _policy(authority, [_equals(prefix + _TYPE, "sevsnpvm"), _equals(prefix + _STATUS, "azure-compliant-cvm")])


def data_disk_policy(authority: str) -> ReleasePolicy:
    """Return the policy "an SEV-SNP or TDX confidential VM that Azure calls compliant", asked of a guest's token.

    It is what `az keyvault key create --default-data-disk-policy` writes. Raises as `cvm_policy` does.
    """
    kinds: list[Json] = [_equals(GUEST_PREFIX + _TYPE, kind) for kind in ("sevsnpvm", "tdxvm")]
    return _policy(authority, [{"anyOf": kinds}, _equals(GUEST_PREFIX + _STATUS, "azure-compliant-cvm")])


def container_policy(authority: str, *, host_data: str) -> ReleasePolicy:
    """Return the policy "this confidential container group, not debuggable, in a utility VM that Azure knows".

    `host_data` is the SHA-256 of the container's policy, 64 hex digits. Raises `UsageError` for another text, and as
    `cvm_policy` does. Source: Azure confidential containers, secure key release sidecar.
    """
    if len(host_data) != 64 or not set(host_data) <= set("0123456789abcdef"):
        raise UsageError(
            what="host data",
            where="argument host_data",
            expected="64 hex digits in lower case, the SHA-256 of the container's policy",
            found=repr(host_data)[:80],
            fix="Take it from `az confcom`, or from x-ms-sevsnpvm-hostdata of the container's own token.",
        )
    conditions = [
        _equals(_TYPE, "sevsnpvm"),
        _equals(_STATUS, "azure-compliant-uvm"),
        _equals("x-ms-sevsnpvm-is-debuggable", "false"),
        _equals("x-ms-sevsnpvm-hostdata", host_data),
    ]
    return _policy(authority, conditions)


def _equals(claim: str, value: str) -> Json:
    return {"claim": claim, "equals": value}


def _policy(authority: str, conditions: list[Json]) -> ReleasePolicy:
    host = authority.removesuffix("/").removeprefix("https://")
    if not authority.startswith("https://") or not host or any(mark in host for mark in "/?#@ "):
        raise UsageError(
            what="attestation provider",
            where="argument authority",
            expected="https:// and a host, such as https://sharedweu.weu.attest.azure.net",
            found=repr(authority),
            fix="Take the attestUri of your region's shared provider.",
        )
    clause = {"authority": f"https://{host}", "allOf": conditions}
    return parse_policy(json.dumps({"version": "1.0.0", "anyOf": [clause]}, separators=(",", ":")))
