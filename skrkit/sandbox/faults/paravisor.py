"""What the paravisor and the host hand out while a fault of the evidence is on: reports, certificates, the event log.

Whatever a fault changes in a report is signed like everything else, unless the fault is that it is not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from skrkit.sandbox import chance, chipcerts, hcl, keygen
from skrkit.sandbox.snpreport import POLICY

if TYPE_CHECKING:
    from skrkit.sandbox.machine import Machine
    from skrkit.sandbox.silicon import Chip

OTHER_LINE = "Genoa"
OLD_MICROCODE = 114
"""One below the lowest that Azure Attestation calls compliant (inferred: 115 is the lowest seen in such a token)."""
OUTER_VMPL = 2
NEIGHBOUR = "0e1dbeef-0000-4000-8000-00000000c0de"
"""The vmUniqueId of another confidential VM on the same host."""
_MEASUREMENT = 0x090  # bytes of the SNP report (AMD 56860, ATTESTATION_REPORT)
_DEBUG = 1 << 19
_LOADER_PCR = 4


def report_fault(machine: Machine) -> str:
    """Return the first fault of the report that is on, "" without one."""
    return next((name for name in _REPORTS if machine.faulty(name)), "")


def hcl_report(machine: Machine, claims: bytes, user_data: bytes) -> bytes:
    """Return the HCL report over runtime claims: as it should be, or as the fault that is on has it."""
    return _REPORTS.get(report_fault(machine), _right_report)(machine, claims, user_data)


def _right_report(machine: Machine, claims: bytes, _user_data: bytes) -> bytes:
    return hcl.build_hcl_report(machine.report_over(claims), claims)


def _tampered(machine: Machine, claims: bytes, _user_data: bytes) -> bytes:
    report = bytearray(machine.report_over(claims))
    report[_MEASUREMENT] ^= 1
    return hcl.build_hcl_report(bytes(report), claims)


def _other_claims(machine: Machine, claims: bytes, _user_data: bytes) -> bytes:
    changed = claims.replace(b'"console-enabled":true', b'"console-enabled":false')
    return hcl.build_hcl_report(machine.report_over(claims), changed)


def _other_vm(machine: Machine, _claims: bytes, user_data: bytes) -> bytes:
    """Return the report of a neighbour on the same chip: everything in it is right, and none of it is this VM's."""
    if "neighbour" not in machine.stand_ins:
        machine.stand_ins["neighbour"] = [
            keygen.rsa_key(f"fault/neighbour-{which}", 2048).public_key().public_numbers().n for which in ("ak", "ek")
        ]
    ak, ek = machine.stand_ins["neighbour"]
    claims = hcl.runtime_claims(ak=ak, ek=ek, vm_id=NEIGHBOUR, secure_boot=True, user_data=user_data)
    report_id = hashlib.sha256(NEIGHBOUR.encode()).digest()
    return hcl.build_hcl_report(machine.report_over(claims, report_id=report_id), claims)


def _debug(machine: Machine, claims: bytes, _user_data: bytes) -> bytes:
    return hcl.build_hcl_report(machine.report_over(claims, policy=POLICY | _DEBUG), claims)


def _from_outside(machine: Machine, claims: bytes, _user_data: bytes) -> bytes:
    return hcl.build_hcl_report(machine.report_over(claims, vmpl=OUTER_VMPL), claims)


def _rolled_back(machine: Machine, claims: bytes, _user_data: bytes) -> bytes:
    """Return a report by the key that the chip has for old firmware; what the host has committed is newer."""
    committed = machine.chip.tcb
    report = machine.report_over(claims, chip=_of_old_firmware(machine), current_tcb=committed, committed_tcb=committed)
    return hcl.build_hcl_report(report, claims)


_REPORTS: Mapping[str, Callable[[Machine, bytes, bytes], bytes]] = {
    "evidence.report-tampered": _tampered,
    "evidence.runtime-claims": _other_claims,
    "evidence.report-other-vm": _other_vm,
    "evidence.debug-vm": _debug,
    "policy.debug": _debug,
    "evidence.vmpl": _from_outside,
    "evidence.firmware-rollback": _rolled_back,
}


def certified_chip(machine: Machine) -> Chip:
    """Return the chip whose certificate the host hands out for this machine's reports."""
    if machine.faulty("evidence.vcek-other-chip"):
        return _of_other_chip(machine)
    if machine.faulty("evidence.vcek-old-tcb") or machine.faulty("evidence.firmware-rollback"):
        return _of_old_firmware(machine)
    return machine.chip


def _of_other_chip(machine: Machine) -> Chip:
    return _chip(machine, "other-chip", chance.token_bytes("fault/chip-id", 64), machine.chip.tcb)


def _of_old_firmware(machine: Machine) -> Chip:
    return _chip(machine, "old-firmware", machine.chip.chip_id, machine.chip.tcb[:7] + bytes([OLD_MICROCODE]))


def _chip(machine: Machine, name: str, chip_id: bytes, tcb: bytes) -> Chip:
    """Return a chip with a certified key of its own: a VCEK is another one for each chip and each TCB."""
    made: Chip | None = machine.stand_ins.get(name)
    if made is None:
        key = keygen.ec_key(f"fault/{name}", ec.SECP384R1())
        vcek = machine.silicon.certify(key.public_key(), chip_id=chip_id, tcb=tcb)
        made = machine.stand_ins[name] = replace(machine.chip, chip_id=chip_id, tcb=tcb, key=key, vcek=vcek)
    return made


def chain_pem(machine: Machine) -> bytes:
    """Return the certificates above the chip's that the host hands out, PEM: ASK, ARK."""
    if not machine.faulty("evidence.chain-other-line"):
        return machine.silicon.chain_pem
    factory = machine.silicon.factory()  # its keys do: what is wrong with this chain is whom it names
    made: bytes | None = machine.stand_ins.get("chain")
    if made is None:
        since = factory.ark.not_valid_before_utc
        ark = chipcerts.ark_certificate(factory.ark_key, since, OTHER_LINE)
        ask = chipcerts.ask_certificate(factory.ask_key.public_key(), factory.ark_key, ark, since, OTHER_LINE)
        made = machine.stand_ins["chain"] = ask.public_bytes(Encoding.PEM) + ark.public_bytes(Encoding.PEM)
    return made


def event_log(machine: Machine) -> bytes:
    """Return the TCG event log: that of the boot, or one that names another boot loader than was measured."""
    if not machine.faulty("evidence.event-log"):
        return machine.boot.log
    made: tuple[bytes, bytes] = machine.stand_ins.get("event-log", (b"", b""))
    if made[0] is not machine.boot.log:
        changed = machine.boot.log
        for name, digest in [digests for pcr, digests in machine.boot.extends if pcr == _LOADER_PCR][-1].items():
            changed = changed.replace(digest, hashlib.new(name, b"another boot loader").digest())
        made = machine.stand_ins["event-log"] = (machine.boot.log, changed)
    return made[1]
