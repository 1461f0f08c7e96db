"""What the paravisor and the host hand out while a fault of the evidence is on: reports, certificates, the event log.

Whatever a fault changes in a report is signed like everything else, unless the fault is that it is not.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from skrkit.sandbox import chipcerts, hcl, keygen
from skrkit.sandbox.snpreport import POLICY

if TYPE_CHECKING:
    from skrkit.sandbox.machine import Machine
    from skrkit.sandbox.silicon import Chip

OTHER_LINE = "Genoa"
ROLLED_BACK = 114
"""A microcode one below the lowest that Azure Attestation calls compliant (inferred: 115 was seen in such a token)."""
OUTDATED = 100
"""The microcode that an outdated chip certificate is for: below what any report here says."""
OUTER_VMPL = 2
NEIGHBOUR = "0e1dbeef-0000-4000-8000-00000000c0de"
"""The vmUniqueId of another confidential VM on the same host."""
_MEASUREMENT = 0x090  # bytes of the SNP report (AMD 56860, ATTESTATION_REPORT)
_DEBUG = 1 << 19
_LOADER_PCR = 4


def report_faults(machine: Machine) -> tuple[str, ...]:
    """Return the faults of the report that are on."""
    return tuple(name for name in _OF_THE_REPORT if machine.faulty(name))


def hcl_report(machine: Machine, claims: bytes, user_data: bytes) -> bytes:
    """Return the HCL report over runtime claims, with what the faults that are on make of it."""
    faulty, changes = machine.faulty, dict[str, Any]()
    if faulty("evidence.report-other-vm"):
        claims = _neighbours_claims(machine, user_data)
        changes["report_id"] = hashlib.sha256(NEIGHBOUR.encode()).digest()
    if faulty("evidence.debug-vm") or faulty("policy.debug"):
        changes["policy"] = POLICY | _DEBUG
    if faulty("evidence.vmpl"):
        changes["vmpl"] = OUTER_VMPL
    if faulty("evidence.firmware-rollback"):  # signed by the key of old firmware; what is committed is newer
        chip = _chip(machine, chip_id=machine.chip.chip_id, microcode=ROLLED_BACK)
        changes |= {"chip": chip, "current_tcb": machine.chip.tcb, "committed_tcb": machine.chip.tcb}
    report = bytearray(machine.report_over(claims, **changes))
    if faulty("evidence.report-tampered"):
        report[_MEASUREMENT] ^= 1
    if faulty("evidence.runtime-claims"):
        claims = claims.replace(b'"console-enabled":true', b'"console-enabled":false')
    return hcl.build_hcl_report(bytes(report), claims)


_OF_THE_REPORT = (
    "evidence.report-other-vm",
    "evidence.debug-vm",
    "policy.debug",
    "evidence.vmpl",
    "evidence.firmware-rollback",
    "evidence.report-tampered",
    "evidence.runtime-claims",
)


def _neighbours_claims(machine: Machine, user_data: bytes) -> bytes:
    """Return the runtime claims of a neighbour on the same chip: everything in them is right, and none of it ours."""
    if "neighbour" not in machine.stand_ins:
        machine.stand_ins["neighbour"] = [
            keygen.rsa_key(f"fault/neighbour-{which}", 2048).public_key().public_numbers().n for which in ("ak", "ek")
        ]
    ak, ek = machine.stand_ins["neighbour"]
    return hcl.runtime_claims(ak=ak, ek=ek, vm_id=NEIGHBOUR, secure_boot=True, user_data=user_data)


def certified_chip(machine: Machine) -> Chip:
    """Return the chip whose certificate the host hands out for this machine's reports."""
    chip_id, microcode = machine.chip.chip_id, machine.chip.tcb[7]
    if machine.faulty("evidence.firmware-rollback"):
        microcode = ROLLED_BACK
    if machine.faulty("evidence.vcek-old-tcb"):
        microcode = OUTDATED
    if machine.faulty("evidence.vcek-other-chip"):
        chip_id = hashlib.shake_256(chip_id).digest(64)
    right = (chip_id, microcode) == (machine.chip.chip_id, machine.chip.tcb[7])
    return machine.chip if right else _chip(machine, chip_id=chip_id, microcode=microcode)


def _chip(machine: Machine, *, chip_id: bytes, microcode: int) -> Chip:
    """Return a chip with a certified key of its own: a VCEK is another one for each chip and each TCB."""
    name = f"{chip_id.hex()}/{microcode}"
    made: Chip | None = machine.stand_ins.get(name)
    if made is None:
        tcb = machine.chip.tcb[:7] + bytes([microcode])
        key = keygen.ec_key("fault/vcek", ec.SECP384R1())
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
