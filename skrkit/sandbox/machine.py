"""A confidential VM of the sandbox: its vTPM, the paravisor's behaviour around it, and the host's certificates.

The paravisor (HCL) creates the AK, fills the NV indexes, measures the boot, and rebuilds the report when the
guest reads it. Sources: github.com/microsoft/openvmm, the OpenHCL paravisor; for THIM,
github.com/Azure/cvm-attestation-tools.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Set
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, TypeAlias

from cryptography.hazmat.primitives.asymmetric import rsa

from skrkit.sandbox import akcert, chance, hcl
from skrkit.sandbox.bootlog import boot_event_log
from skrkit.sandbox.faults import interposer, paravisor
from skrkit.sandbox.silicon import Chip, Silicon
from skrkit.sandbox.store import Document, Store
from skrkit.sandbox.vtpm import Vtpm, VtpmState

KIND = "machine"

NV_HCL_REPORT = 0x01400001
NV_USER_DATA = 0x01400002
NV_AK_CERTIFICATE = 0x01C101D0

# TPMA_NV: PLATFORMCREATE | NO_DA | AUTHREAD | OWNERREAD | AUTHWRITE (openvmm, tpm_lib)
PLATFORM_INDEX = 0x40000000 | 0x02000000 | 0x00040000 | 0x00020000 | 0x00000004

REPORT_PERIOD_S = 2.0  # a report younger than this is returned as it is

Power: TypeAlias = Literal["running", "stopped", "deallocated"]


@dataclass(slots=True, kw_only=True)
class Wishes:
    """What is wanted of a machine: the ports that its doors had, so that it gets them again, and whether it is on."""

    proxy_port: int | None = None
    tpm_port: int | None = None
    power: Power = "running"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What a machine is for life. `resource_id` is lower case; `vm_id` a lower-case GUID; `report_id` 32 bytes."""

    resource_id: str
    name: str
    region: str
    vm_id: str
    secure_boot: bool
    report_id: bytes = field(default_factory=lambda: chance.token_bytes("machine/report-id", 32))


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """The moduli of the attestation key and of the endorsement key, both RSA-2048 with e 65537."""

    ak: int
    ek: int


def no_faults() -> Set[str]:
    """Return that no fault is on: for machines without a sandbox around them."""
    return frozenset()


class Machine:
    """One confidential VM. `transceive` is its vTPM as the guest sees it; safe from several threads.

    `faults` says which named faults are on; `stand_ins` keeps what they have made to use in place of what is right.
    """

    def __init__(
        self,
        identity: Identity,
        *,
        chip: Chip,
        silicon: Silicon,
        store: Store,
        now: Callable[[], datetime],
        state: VtpmState,
        keys: Keys | None = None,
        wishes: Wishes | None = None,
        booted_securely: bool | None = None,
        faults: Callable[[], Set[str]] = no_faults,
    ) -> None:
        self.identity = identity
        self.chip = chip
        self.silicon = silicon
        self.faults = faults
        self.stand_ins: dict[str, Any] = {}
        self._store = store
        self._now = now
        self._keys = keys
        self._wishes = wishes or Wishes()
        self._lock = threading.RLock()
        self._state = state
        self._booted_securely = identity.secure_boot if booted_securely is None else booted_securely
        self.boot = boot_event_log(secure_boot=self._booted_securely)
        self._retired = False
        # When the last report was built, over which user data, and with which faults.
        self._reported: tuple[datetime, bytes, tuple[str, ...]] | None = None
        self.vtpm = Vtpm(state, on_nv_read=self._before_nv_read)

    @classmethod
    def from_document(cls, resource_id: str, document: Document, *, chip: Chip, **around: Any) -> Machine:
        """Return a machine as it was saved, in a new process. `around` is the rest of what a machine is made of."""
        identity = Identity(
            resource_id=resource_id,
            name=document["name"],
            region=document["region"],
            vm_id=document["vm_id"],
            secure_boot=document["secure_boot"],
            report_id=bytes.fromhex(document["report_id"]),
        )
        wishes = Wishes(
            proxy_port=document["proxy_port"],
            tpm_port=document["tpm_port"],
            power=document.get("power", "running"),  # older states had no such member
        )
        return cls(
            identity,
            chip=chip,
            state=VtpmState.from_document(document["vtpm"]),
            keys=Keys(ak=int(document["ak"], 16), ek=int(document["ek"], 16)),
            wishes=wishes,
            booted_securely=document.get("booted_securely", identity.secure_boot),  # nor this one
            **around,
        )

    def faulty(self, name: str) -> bool:
        """Return whether the fault of that name is on."""
        return name in self.faults()

    @property
    def resource_id(self) -> str:
        """The ARM resource id, lower case."""
        return self.identity.resource_id

    @property
    def name(self) -> str:
        """The VM's name."""
        return self.identity.name

    @property
    def region(self) -> str:
        """The Azure region."""
        return self.identity.region

    @property
    def vm_id(self) -> str:
        """The VM's unique id, a lower-case GUID: `vmId` in ARM and IMDS, `vmUniqueId` (upper case) in the report."""
        return self.identity.vm_id

    @property
    def secure_boot(self) -> bool:
        """Whether the VM boots with secure boot on."""
        return self.identity.secure_boot and not self.faulty("evidence.secure-boot-off")

    @property
    def event_log(self) -> bytes:
        """The TCG event log of the last boot: `/sys/kernel/security/tpm0/binary_bios_measurements`."""
        return paravisor.event_log(self)

    @property
    def proxy_port(self) -> int | None:
        """The port that this machine's door had, None if it never had one. Setting it saves it."""
        return self._wishes.proxy_port

    @proxy_port.setter
    def proxy_port(self, port: int | None) -> None:
        self._wishes.proxy_port = port
        self.save()

    @property
    def tpm_port(self) -> int | None:
        """The port that this machine's vTPM had, None if it never had one. Setting it saves it."""
        return self._wishes.tpm_port

    @tpm_port.setter
    def tpm_port(self, port: int | None) -> None:
        self._wishes.tpm_port = port
        self.save()

    @property
    def power(self) -> Power:
        """Whether the machine runs, in Resource Manager's words."""
        return self._wishes.power

    def transceive(self, command: bytes) -> bytes:
        """Return the vTPM's response to a TPM 2.0 command. What the command changed is saved before this returns.

        A machine that does not run answers nothing.
        """
        with self._lock:
            if self.power != "running":
                return b""
            if self._booted_securely != self.secure_boot:
                self._power_on()  # the setting was changed: as with a real VM, that takes a start
            response = interposer.answer(self, command)
            if self.vtpm.dirty:
                self.save()
            return response

    def reboot(self) -> None:
        """Start or restart: TPM2_Startup(CLEAR), the boot measured again, a new report; NULL-hierarchy keys are gone.

        It is the same chip: a real VM that was deallocated may wake up on another host, with another VCEK (simplified).
        """
        with self._lock:
            self._wishes.power = "running"
            self._power_on()
            self.save()

    def shut_down(self, power: Literal["stopped", "deallocated"]) -> None:
        """Stop the machine. What a vTPM keeps without power stays: NV indexes, and all seeds but the NULL one."""
        with self._lock:
            self._wishes.power = power
            self.save()

    def thim(self) -> dict[str, str]:
        """Return what `/metadata/THIM/amd/certification` answers: the certificates that go with the reports."""
        chip = paravisor.certified_chip(self)
        return {
            "vcekCert": chip.vcek_pem.decode("ascii"),
            "tcbm": chip.tcb[::-1].hex().upper(),  # the u64, most significant byte (microcode) first
            "certificateChain": paravisor.chain_pem(self).decode("ascii"),
            "cacheControl": "86400",
        }

    def manufacture(self, authority: akcert.VtpmAuthority) -> None:
        """Do what happens once in a machine's life: keys, AK certificate, platform NV indexes, first boot."""
        self.vtpm.startup(clear=True)
        ek, ak = self.vtpm.create_ek(), self.vtpm.create_ak()
        self._keys = Keys(ak=_modulus(ak), ek=_modulus(ek))
        self.vtpm.platform_nv_define(NV_AK_CERTIFICATE, akcert.NV_SIZE, PLATFORM_INDEX)
        self._certify_ak(authority)
        self.vtpm.platform_nv_define(NV_HCL_REPORT, hcl.NV_SIZE, PLATFORM_INDEX)
        self._power_on()

    def _certify_ak(self, authority: akcert.VtpmAuthority) -> None:
        assert self._keys is not None  # made before they are certified
        certificate = authority.issue(rsa.RSAPublicNumbers(65537, self._keys.ak).public_key(), vm_id=self.vm_id)
        self.vtpm.platform_nv_write(NV_AK_CERTIFICATE, certificate.ljust(akcert.NV_SIZE, b"\0"))

    def renew_ak_certificate(self, authority: akcert.VtpmAuthority) -> None:
        """Replace an AK certificate that ends soon. What else the guest wrote over it is the guest's, and stays."""
        held = self.vtpm.nv_data(NV_AK_CERTIFICATE) or b""
        if len(held) == akcert.NV_SIZE and akcert.due_for_renewal(held, self._now()):
            self._certify_ak(authority)
            self.save()

    def _power_on(self) -> None:
        self._booted_securely = self.secure_boot
        self.boot = boot_event_log(secure_boot=self._booted_securely)
        self.vtpm.startup(clear=True)
        for pcr, digests in self.boot.extends:
            self.vtpm.extend(pcr, digests)
        self._build_report(self._user_data())

    def _user_data(self) -> bytes:
        """Return what the guest left in 0x01400002, padded or cut to 64 bytes; zeros if the index is absent."""
        return (self.vtpm.nv_data(NV_USER_DATA) or b"")[:64].ljust(64, b"\0")

    def _before_nv_read(self, index: int, offset: int) -> None:
        """Rebuild the report if the guest starts to read it and it is stale.

        A read at another offset never rebuilds, so that a report read in chunks is of one piece. The real paravisor
        rebuilds only when more than 2 s have passed, so that fresh user data can be missed for 2 s and clients wait;
        here changed user data rebuilds at once (simplified), and unchanged user data keeps the 2 s.
        """
        if index != NV_HCL_REPORT or offset != 0 or self.faulty("evidence.report-stale"):
            return
        user_data = self._user_data()
        if self._reported is not None:
            built, *over = self._reported
            fresh = (self._now() - built).total_seconds() <= REPORT_PERIOD_S
            if fresh and over == [user_data, paravisor.report_faults(self)]:
                return
        self._build_report(user_data)

    def _build_report(self, user_data: bytes) -> None:
        assert self._keys is not None  # made before the first boot
        claims = hcl.runtime_claims(
            ak=self._keys.ak,
            ek=self._keys.ek,
            vm_id=self.vm_id,
            secure_boot=self.secure_boot,
            user_data=user_data,
        )
        self.vtpm.platform_nv_write(NV_HCL_REPORT, paravisor.hcl_report(self, claims, user_data))
        self._reported = (self._now(), user_data, paravisor.report_faults(self))

    def report_over(self, claims: bytes, *, chip: Chip | None = None, **changes: Any) -> bytes:
        """Return a signed SNP report over runtime claims, by this machine's chip or another. `changes`: `SnpFields`."""
        given = {"report_id": self.identity.report_id, **changes}
        return self.silicon.report(chip or self.chip, report_data=hcl.report_data_of(claims), **given)

    def retire(self) -> None:
        """Save nothing any more: the machine is removed, while a connection to its vTPM may still be open."""
        with self._lock:
            self._retired = True

    def save(self) -> None:
        """Write the machine to the store, its vTPM with it."""
        with self._lock:
            if self._retired:
                return
            self._store.put(KIND, self.resource_id, self._document())
            self.vtpm.dirty = False

    def _document(self) -> Document:
        identity = self.identity
        return {
            "name": identity.name,
            "region": identity.region,
            "vm_id": identity.vm_id,
            "secure_boot": identity.secure_boot,
            "booted_securely": self._booted_securely,
            "report_id": identity.report_id.hex(),
            "chip_id": self.chip.chip_id.hex(),
            "proxy_port": self._wishes.proxy_port,
            "tpm_port": self._wishes.tpm_port,
            "power": self.power,
            "ak": f"{self._keys.ak:x}" if self._keys else "",
            "ek": f"{self._keys.ek:x}" if self._keys else "",
            "vtpm": self._state.to_document(),
        }


def _modulus(public: bytes) -> int:
    """Return the modulus of an RSA-2048 TPM2B_PUBLIC: its last 256 bytes."""
    return int.from_bytes(public[-256:], "big")
