"""What Azure checks in the body of a confidential VM, with its own words where they are known."""

from __future__ import annotations

import re
from typing import Any

from skrkit.sandbox.arm import errors
from skrkit.sandbox.arm.errors import bad_request

SNP_SIZE = re.compile(r"standard_[de]c(2|4|8|16|20|32|48|64|96)ad?s_v[56]\Z")
TDX_SIZE = re.compile(r"standard_[de]c\d+ed?s_v[56]\Z")
SECURITY_TYPES = ("ConfidentialVM", "TrustedLaunch", "Standard")
ENCRYPTION_TYPES = ("VMGuestStateOnly", "DiskWithVMGuestState", "NonPersistedTPM")
MANAGED_DISK = ("properties", "storageProfile", "osDisk", "managedDisk")


def member(body: dict[str, Any], *names: str) -> Any:
    """Return a nested member, or None if any step of the way is missing or no object."""
    value: Any = body
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def is_on(value: Any) -> bool:
    """Return whether a switch is on: Azure takes the text "true" for it, and published templates write it so."""
    return value is True or (isinstance(value, str) and value.lower() == "true")


def with_switches(properties: dict[str, Any]) -> dict[str, Any]:
    """Return a VM's properties with the switches of its security profile as Azure shows them: true and false."""
    profile = properties.get("securityProfile")
    if not isinstance(profile, dict):
        return properties
    settings = profile.get("uefiSettings")
    if isinstance(settings, dict):
        shown = {name: is_on(value) if isinstance(value, str) else value for name, value in settings.items()}
        profile = profile | {"uefiSettings": shown}
    return properties | {"securityProfile": profile}


def required(body: dict[str, Any], *names: str) -> Any:
    """Return a nested member that must be there, or raise the compute provider's 400."""
    value = member(body, *names)
    if value is None:
        name = ".".join(names[1:])
        raise bad_request(f"Required parameter '{name}' is missing (null).", code="InvalidParameter", target=name)
    return value


def check_machine_body(body: dict[str, Any]) -> None:
    """Return nothing for a body that makes an SEV-SNP confidential VM; raise `AzureError` for any other.

    What Azure has and the sandbox does not (plain VMs, TDX) is a 501 that says so. Images, disks, networks and
    names of users are not looked at.
    """
    size = str(required(body, "properties", "hardwareProfile", "vmSize"))
    required(body, "properties", "storageProfile")
    security = member(body, "properties", "securityProfile", "securityType")
    encryption = member(body, *MANAGED_DISK, "securityProfile", "securityEncryptionType")
    _check_words(security, encryption)
    snp, tdx = bool(SNP_SIZE.match(size.lower())), bool(TDX_SIZE.match(size.lower()))
    if (snp or tdx) and security != "ConfidentialVM":
        raise bad_request(
            f"The VM size '{size}' is not supported for creation of VMs and Virtual Machine Scale Set with "
            f"'{security or '<NULL>'}' security type."
        )
    if security != "ConfidentialVM":
        if member(body, *MANAGED_DISK, "securityProfile") is not None:
            raise bad_request("The parameter 'managedDisk.securityProfile' can only be set for Confidential VMs.")
        raise errors.not_here(f"virtual machines that are not confidential, such as size {size}")
    if encryption is None:
        raise bad_request(
            "Required parameter for Confidential VMs 'managedDisk.securityProfile.securityEncryptionType' is missing "
            "(null)."
        )
    if not snp and not tdx:
        raise bad_request(
            f"The VM size '{size}' is not supported for creation of VMs and Virtual Machine Scale Set with "
            "'ConfidentialVM' security type and managedDisk.securityProfile.securityEncryptionType set as "
            f"'{encryption}'"
        )
    _check_firmware(body, str(encryption))
    if tdx:
        raise errors.not_here(f"Intel TDX machines, such as size {size}; take a DCasv5, ECasv5, DCasv6 or ECasv6 size")


def _check_words(security: Any, encryption: Any) -> None:
    for value, known, type_name in (
        (security, SECURITY_TYPES, "SecurityTypes"),
        (encryption, ENCRYPTION_TYPES, "SecurityEncryptionTypes"),
    ):
        if value is not None and value not in known:
            raise bad_request(
                f'Error converting value "{value}" to type {type_name}; expected one of {", ".join(known)}.'
            )


def _check_firmware(body: dict[str, Any], encryption: str) -> None:
    """Check the uefiSettings that the encryption type asks for. The texts are not known to the letter (inferred)."""
    settings = ("properties", "securityProfile", "uefiSettings")
    if not is_on(member(body, *settings, "vTpmEnabled")):
        raise bad_request(
            "The parameter 'securityProfile.uefiSettings.vTpmEnabled' must be true for Confidential VMs.",
            code="InvalidParameter",
            target="securityProfile.uefiSettings.vTpmEnabled",
        )
    if encryption == "DiskWithVMGuestState":
        if not is_on(member(body, *settings, "secureBootEnabled")):
            raise bad_request(
                "The parameter 'securityProfile.uefiSettings.secureBootEnabled' must be true when "
                "securityEncryptionType is 'DiskWithVMGuestState'.",
                code="InvalidParameter",
                target="securityProfile.uefiSettings.secureBootEnabled",
            )
        if is_on(member(body, "properties", "securityProfile", "encryptionAtHost")):
            raise bad_request(
                "The parameter 'securityProfile.encryptionAtHost' cannot be true when securityEncryptionType is "
                "'DiskWithVMGuestState'.",
                code="InvalidParameter",
                target="securityProfile.encryptionAtHost",
            )
