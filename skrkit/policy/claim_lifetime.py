"""How long the value of a claim stays what it is: what a clause costs when the VM is made again, or firmware changes.

A policy that asks for a value is met only as long as the value lasts. That is not in the claims catalogue, because it
says nothing about a token; it says what becomes of the key. Source: Azure Attestation, claim sets; Azure confidential
VM guest attestation; what no document says is marked inferred in the sentence.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from skrkit.token.catalogue import TEE


class Lasts(Enum):
    """As long as what the value of a claim stays the same."""

    KIND = "kind"  # every machine of this kind has it
    COMPLIANCE = "compliance"  # until Azure no longer calls paravisor and firmware healthy
    SETTING = "setting"  # until the VM is configured otherwise
    PARAVISOR = "paravisor"  # until Azure releases another paravisor
    FIRMWARE = "firmware"  # until the host gets other firmware or microcode, or the VM another host
    PROVIDER = "provider"  # until the provider's attestation policy changes
    VM = "vm"  # as long as this VM, or this container's policy
    BOOT = "boot"  # until the VM starts again
    TOKEN = "token"  # noqa: S105 - one attestation token
    GUEST = "guest"  # whatever the guest says


@dataclass(frozen=True, slots=True)
class Lifetime:
    """How long a claim's value lasts, and what a clause on it costs: when the VM is made again, when firmware changes.

    "Made again" is deleted and created; a restart, a stop and start, or a move to another host keeps the VM's id.
    """

    lasts: Lasts
    made_again: str
    firmware: str


_STAYS = "Nothing: updates do not change it."
_KIND = Lifetime(Lasts.KIND, "Nothing: a VM of this kind that is made again has it too.", _STAYS)
_COMPLIANCE = Lifetime(
    Lasts.COMPLIANCE,
    "Nothing: a compliant VM that is made again has it too.",
    "Nothing, as long as Azure calls them healthy: a host that is updated late may lose it for a time (inferred).",
)
_SETTING = Lifetime(Lasts.SETTING, "Nothing, if the VM is configured alike again.", _STAYS)
_PARAVISOR = Lifetime(
    Lasts.PARAVISOR,
    "The new VM may get a newer paravisor, and then another value.",
    "Each paravisor release changes it: add the new value to the policy before the VM starts on it.",
)
_SIGNER = Lifetime(
    Lasts.PARAVISOR,
    "Nothing, as long as the paravisor is signed with the same key.",
    "Azure changes the key about once a year: add the new value to the policy beside the old one.",
)
_FIRMWARE = Lifetime(
    Lasts.FIRMWARE,
    "The new VM may land on a host with other firmware, and then has another value.",
    "Each firmware or microcode update of the host changes it, and so does a move to another host.",
)
_PROVIDER = Lifetime(
    Lasts.PROVIDER, "Nothing.", "Nothing; but every change of the provider's attestation policy changes it."
)
_VM = Lifetime(
    Lasts.VM,
    "The new VM has another id: nobody gets the key until the policy is changed.",
    "Nothing: updates, restarts and moves to another host keep it.",
)
_WORKLOAD = Lifetime(
    Lasts.VM,
    "Nothing, as long as the container's policy stays the same; a changed policy has another hash.",
    _STAYS,
)
_BOOT = Lifetime(Lasts.BOOT, "It is lost at the next start already.", "It is lost at the next start already.")
_TOKEN = Lifetime(Lasts.TOKEN, "It is lost with the next token already.", "It is lost with the next token already.")
_GUEST = Lifetime(Lasts.GUEST, "Nothing: whoever runs the guest says what he likes.", "Nothing, for the same reason.")

_BY_NAME = {
    **dict.fromkeys(("iat", "nbf", "exp", "jti", "nonce"), _TOKEN),
    "x-ms-compliance-status": _COMPLIANCE,
    "x-ms-policy-hash": _PROVIDER,
    "x-ms-policy-signer": _PROVIDER,
    "x-ms-sevsnpvm-guestsvn": _PARAVISOR,
    "x-ms-sevsnpvm-launchmeasurement": _PARAVISOR,
    "x-ms-sevsnpvm-idkeydigest": _SIGNER,
    **dict.fromkeys((f"x-ms-sevsnpvm-{part}-svn" for part in ("bootloader", "tee", "snpfw", "microcode")), _FIRMWARE),
    "x-ms-sevsnpvm-smt-allowed": _SETTING,
    "x-ms-sevsnpvm-hostdata": _WORKLOAD,
    "x-ms-sevsnpvm-reportid": _BOOT,
    "x-ms-sevsnpvm-reportdata": _BOOT,
    "secureboot": _SETTING,
    "x-ms-azurevm-vmid": _VM,
    "x-ms-runtime.vm-configuration.vmUniqueId": _VM,
    "x-ms-runtime.vm-configuration.current-time": _BOOT,
    "x-ms-runtime.user-data": _GUEST,
    **dict.fromkeys((f"tdx_{part}" for part in ("mrseam", "seamsvn", "tee_tcb_svn", "seam_attributes")), _FIRMWARE),
    "attester_tcb_status": _FIRMWARE,
    "tdx_mrtd": _PARAVISOR,
    **dict.fromkeys((f"tdx_rtmr{number}" for number in range(4)), _SETTING),
    "tdx_report_data": _BOOT,
}
_BY_START = (
    ("x-ms-azurevm-os", _GUEST),
    ("x-ms-runtime.client-payload", _GUEST),
    ("x-ms-azurevm-", _SETTING),
    ("x-ms-runtime.vm-configuration.", _SETTING),
    ("x-ms-runtime", _BOOT),
    ("x-ms-inittime", _SETTING),
)


def lifetime_of(path: str) -> Lifetime:
    """Return how long the value of a claim lasts. `path` has dots between names, x-ms-isolation-tee first or not.

    A claim that is in no table lasts as long as the kind of machine: its type, debugging, privilege level.
    """
    name = path.removeprefix(f"{TEE}.")
    found = _BY_NAME.get(name)
    if found is not None:
        return found
    return next((lifetime for start, lifetime in _BY_START if name.startswith(start)), _KIND)
