"""The default policies of a shared provider: nobody can change them, so they are data here and not a language.

Source: attestation-and-imds.md 4.6; the deny rules are known from a third party that edits this policy.
"""

from __future__ import annotations

from collections.abc import Mapping

from skrkit.sandbox.maa.refusal import denied
from skrkit.wire import Json

# The hashes are the real service's constants, seen in its tokens (the first in 2022 to 2025). They are quoted, not
# computed: the text behind them, to the last blank, is not known, so the sandbox has no text that hashes to them.
AZURE_GUEST_HASH = "wm9mHlvTU82e8UqoOy1Yj1FBRSNkfe99-69IYDq9eWs"
SEV_SNP_HASH = "9NY0VnTQ-IiBriBplVUpFbczcDaEBUwsiFYAzHu_gco"

AZURE_GUEST_DENIES_WITHOUT = (
    "x-ms-azurevm-default-securebootkeysvalidated",
    "x-ms-azurevm-debuggersdisabled",
    "secureboot",
    "x-ms-azurevm-signingdisabled",
    "x-ms-azurevm-dbvalidated",
    "x-ms-azurevm-dbxvalidated",
)
"""Claims of which each must be true, in the order of the policy's deny rules; after them it permits."""


def authorize_guest(claims: Mapping[str, Json]) -> None:
    """Return nothing if the default AzureGuest policy permits. Raises 400 PolicyEvaluationError for the first deny."""
    for claim in AZURE_GUEST_DENIES_WITHOUT:
        if claims.get(claim) is not True:
            raise denied(claim)
