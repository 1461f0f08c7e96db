"""Key Vault's refusals in its own words. Texts marked (inferred) are not known to the letter."""

from __future__ import annotations

from skrkit.sandbox.web import AzureError


def bad_parameter(message: str) -> AzureError:
    """Return a 400 BadParameter."""
    return AzureError(400, "BadParameter", message)


def unsupported_media_type() -> AzureError:
    """Return the 415 of a body that is not said to be JSON; code and words are not known (inferred)."""
    return AzureError(415, "UnsupportedMediaType", "The content type of the request must be application/json.")


def skr(number: int) -> AzureError:
    """Return the 400 of a broken rule about exportable keys and their policies. 1003, 1006, 1016: (inferred) texts."""
    return bad_parameter(f"AKV.SKR.{number}: {_SKR[number]}")


_SKR = {
    1001: "The exportable attribute is only supported with premium vaults and API version >= '7.3-preview'.",
    1003: "The exportable attribute of an existing key cannot be changed.",
    1004: "Exportable keys must have release policy.",
    1005: "Non-exportable keys must not have release policy.",
    1006: "The exportable attribute is only supported with HSM keys.",
    1013: "Malformed Key Release Policy - Unable to Json Deserialize the policy object.",
    1014: "Cannot modify the exportable state of a key.",
    1016: "Key Release Policy can only be modified on the versionless key.",
    1020: "Immutable Key Release Policy cannot be modified.",
}


def forbidden(message: str, inner: str = "") -> AzureError:
    """Return a 403 Forbidden, with the inner code where Key Vault has one."""
    return AzureError(403, "Forbidden", message, inner=inner)


def hardware_on_standard() -> AzureError:
    """Return the 403 of an HSM key type in a Standard vault."""
    return forbidden("Hardware key operation not allowed on standard vault")


def key_disabled(operation: str) -> AzureError:
    """Return the 403 of a disabled key."""
    return forbidden(f"Operation {operation} is not allowed on a disabled key.", "KeyDisabled")


def key_expired(operation: str) -> AzureError:
    """Return the 403 of a key after `exp` (inferred, by analogy with secrets)."""
    return forbidden(f"Operation {operation} is not allowed on an expired key.", "KeyExpired")


def key_not_yet_valid(operation: str) -> AzureError:
    """Return the 403 of a key before `nbf` (inferred, by analogy with secrets)."""
    return forbidden(f"Operation {operation} is not allowed on a key that is not yet valid.", "KeyNotYetValid")


def operation_not_permitted(operation: str) -> AzureError:
    """Return the 403 of an operation that `key_ops` does not list, or of a release of a key that cannot be released."""
    return forbidden(f"Operation {operation} is not permitted on this key.", "KeyOperationForbidden")


def key_not_found(name: str, version: str = "") -> AzureError:
    """Return the 404 of a key or version that is not there."""
    shown = f"{name}/{version}" if version else name
    return AzureError(
        404,
        "KeyNotFound",
        f"A key with (name/id) {shown} was not found in this key vault. If you recently deleted this key you may be "
        "able to recover it using the correct recovery command. For help resolving this issue, please see "
        "https://go.microsoft.com/fwlink/?linkid=2125182",
    )


def deleted_key_not_found(name: str) -> AzureError:
    """Return the 404 of a deleted key that is not there."""
    return AzureError(404, "KeyNotFound", f"Deleted Key not found: {name}")


def deleted_but_recoverable(name: str) -> AzureError:
    """Return the 409 of a name that a soft-deleted key holds."""
    return AzureError(
        409,
        "Conflict",
        f"Key {name} is currently in a deleted but recoverable state, and its name cannot be reused; in this state, "
        "the key can only be recovered or purged.",
        inner="ObjectIsDeletedButRecoverable",
    )


def purge_protected(vault: str, region: str) -> AzureError:
    """Return the 403 of a purge in a vault with purge protection."""
    return forbidden(
        'Operation "purge" is not allowed because purge protection is enabled for this vault. Key Vault service will '
        f"automatically purge it after the retention period has passed.\r\nVault: {vault};location={region}"
    )


def target_not_verified() -> AzureError:
    """Return the 403 of a release whose token is not one that the authority vouches for."""
    return forbidden("Target environment attestation statement cannot be verified.", "AccessDenied")


def policy_not_met() -> AzureError:
    """Return the 403 of a release whose token is good and whose claims the policy refuses; inner code (inferred)."""
    return forbidden("Target environment attestation does not meet key release policy requirements.", "AccessDenied")
