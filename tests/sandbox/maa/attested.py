"""A confidential VM in plain Python, which signs whatever a test wants: what a real vTPM would never do.

TPM structures are packed here by hand, after TPM 2.0 Part 2; neither the sandbox's vTPM nor skrkit's client is used.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from skrkit.sandbox.bootlog import boot_event_log
from skrkit.sandbox.cast import ensure_cast
from skrkit.sandbox.hcl import report_data_of, runtime_claims
from skrkit.sandbox.machines import Machines
from skrkit.sandbox.silicon import Chip, Silicon
from skrkit.sandbox.store import Store
from skrkit.sandbox.world import World

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
VM_ID = "7df7b373-b947-4aaa-96e5-c358f2a03d20"
HOST = "sharedweu.weu.attest.azure.net"
PCRS = tuple(range(8))
ENC_ATTRIBUTES = 0x00020432
AK_ATTRIBUTES = 0x00050472


def make_world(home: Path, now: Callable[[], datetime] = lambda: NOW) -> World:
    """A world with silicon and machines, and without TLS: nothing here listens."""
    store = Store(home / "state.db")
    ensure_cast(store, now())
    silicon = Silicon(store, now)
    machines = Machines(store, silicon, now)
    return World(home=home, store=store, tls=cast("Any", None), silicon=silicon, machines=machines, now=now)


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def b64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def tpm2b(data: bytes) -> bytes:
    return struct.pack(">H", len(data)) + data


def selection(pcrs: tuple[int, ...], alg: int = 0x000B) -> bytes:
    bits = sum(1 << pcr for pcr in pcrs)
    return struct.pack(">IHB", 1, alg, 3) + bits.to_bytes(3, "little")


def rsa_public(modulus: int, *, attributes: int, policy: bytes = b"", scheme: bytes = b"\x00\x10") -> bytes:
    """TPMT_PUBLIC of an RSA-2048 key."""
    head = struct.pack(">HHI", 0x0001, 0x000B, attributes) + tpm2b(policy) + b"\x00\x10" + scheme
    return head + struct.pack(">HI", 2048, 0) + tpm2b(modulus.to_bytes(256, "big"))


def attest(kind: int, body: bytes, extra: bytes = b"") -> bytes:
    """TPMS_ATTEST around a quote's or a certification's own part."""
    signer = tpm2b(b"\x00\x0b" + bytes(32))
    clock = struct.pack(">QIIBQ", 1000, 1, 0, 1, 0x2020031200120003)
    return b"\xffTCG" + struct.pack(">H", kind) + signer + tpm2b(extra) + clock + body


@dataclass
class Attester:
    """One VM. Every attribute can be changed before `body()`; what is derived follows, unless it was set."""

    world: World
    chip: Chip
    ak: rsa.RSAPrivateKey = field(repr=False)
    ek: rsa.RSAPrivateKey = field(repr=False)
    enc: rsa.RSAPrivateKey = field(repr=False)
    vm_id: str = VM_ID
    secure_boot: bool = True
    user_data: bytes = b""
    report_changes: dict[str, Any] = field(default_factory=dict)
    pcr_set: tuple[int, ...] = PCRS
    quoted_pcrs: tuple[int, ...] = PCRS
    quote_alg: int = 0x000B
    quote_type: int = 0x8018
    certify_type: int = 0x8017
    enc_attributes: int = ENC_ATTRIBUTES
    set: dict[str, Any] = field(default_factory=dict)  # by member name: bytes or JSON in place of the derived

    def replay(self) -> dict[int, bytes]:
        pcrs: dict[int, bytes] = {pcr: bytes(32) for pcr in range(17)}
        for pcr, digests in boot_event_log(secure_boot=self.secure_boot).extends:
            pcrs[pcr] = hashlib.sha256(pcrs[pcr] + digests["sha256"]).digest()
        return pcrs

    def runtime(self) -> bytes:
        ak, ek = (key.public_key().public_numbers().n for key in (self.ak, self.ek))
        return runtime_claims(ak=ak, ek=ek, vm_id=self.vm_id, secure_boot=self.secure_boot, user_data=self.user_data)

    def sign(self, data: bytes, key: rsa.RSAPrivateKey | None = None) -> bytes:
        return (key or self.ak).sign(data, padding.PKCS1v15(), hashes.SHA256())

    def pcrs(self) -> dict[int, bytes]:
        replayed = self.replay()
        changed: dict[int, bytes] = self.set.get("pcr_values", {})
        return {pcr: replayed[pcr] for pcr in self.pcr_set} | changed

    def quote(self) -> bytes:
        pcrs = self.pcrs()
        values = b"".join(pcrs.get(pcr, bytes(32)) for pcr in sorted(self.quoted_pcrs))
        digest = hashlib.sha256(values).digest()
        if self.quote_type == 0x8017:
            return self.certify()
        return attest(0x8018, selection(self.quoted_pcrs, self.quote_alg) + tpm2b(digest))

    def enc_public(self) -> bytes:
        pcrs = self.pcrs()
        values = b"".join(pcrs[pcr] for pcr in sorted(pcrs))
        inner = bytes(32) + struct.pack(">I", 0x0000017F) + selection(tuple(sorted(pcrs)))
        policy = hashlib.sha256(inner + hashlib.sha256(values).digest()).digest()
        policy = self.set.get("policy", policy)
        modulus = self.enc.public_key().public_numbers().n
        return rsa_public(modulus, attributes=self.enc_attributes, policy=policy)

    def certify(self) -> bytes:
        name = b"\x00\x0b" + hashlib.sha256(self.set.get("certified", self.enc_public())).digest()
        if self.certify_type == 0x8018:
            return attest(0x8018, selection(self.quoted_pcrs) + tpm2b(bytes(32)))
        return attest(0x8017, tpm2b(name) + tpm2b(name))

    def ak_public(self) -> bytes:
        modulus = self.ak.public_key().public_numbers().n
        return tpm2b(rsa_public(modulus, attributes=AK_ATTRIBUTES, scheme=b"\x00\x14\x00\x0b"))

    def report(self) -> bytes:
        runtime = self.runtime()
        changes = {"report_data": report_data_of(runtime), **self.report_changes}
        return self.world.silicon.report(self.chip, report_id=b"\x5a" * 32, **changes)

    def chain(self) -> bytes:
        return self.chip.vcek_pem + self.world.silicon.chain_pem

    def tpm_info(self) -> dict[str, Any]:
        certificate = self.world.machines.authority.issue(self.ak.public_key(), vm_id=self.vm_id)
        quote, certify = self.quote(), self.certify()
        pcrs = self.pcrs()
        info: dict[str, Any] = {
            "AikCert": b64(certificate.ljust(4096, b"\0")),
            "AikPub": b64(self.ak_public()),
            "PcrQuote": b64(quote),
            "PcrSignature": b64(self.sign(quote)),
            "PcrSet": list(self.pcr_set),
            "PCRs": [{"Index": pcr, "Digest": b64(pcrs[pcr])} for pcr in sorted(pcrs)],
            "EncKeyPub": b64(tpm2b(self.enc_public())),
            "EncKeyCertifyInfo": b64(certify),
            "EncKeyCertifyInfoSignature": b64(self.sign(certify)),
        }
        return {name: self._given(name, value) for name, value in info.items()}

    def _given(self, name: str, value: Any) -> Any:
        given = self.set.get(name, value)
        return b64(given) if isinstance(given, bytes) else given

    def info(self) -> dict[str, Any]:
        """The JSON inside `AttestationInfo`, encoded as Microsoft's C++ client does."""
        proof = {
            "SnpReport": b64url(self.set.get("SnpReport", self.report())),
            "VcekCertChain": b64(self.set.get("VcekCertChain", self.chain())),
        }
        info: dict[str, Any] = {
            "AttestationProtocolVersion": "2.0",
            "OSType": b64(b"Linux"),
            "OSDistro": b64(b"Ubuntu"),
            "OSVersionMajor": 22,
            "OSVersionMinor": 4,
            "OSBuild": b64(b"NotApplication"),
            "TcgLogs": b64(boot_event_log(secure_boot=self.secure_boot).log),
            "ClientPayload": {"nonce": b64(b"1234")},
            "TpmInfo": self.tpm_info(),
            "IsolationInfo": {
                "Type": "SevSnp",
                "Evidence": {
                    "Proof": b64(json.dumps(proof).encode()),
                    "RunTimeData": b64(self.set.get("RunTimeData", self.runtime())),
                },
            },
        }
        return {name: self._given(name, value) for name, value in info.items()}

    def body(self) -> dict[str, Any]:
        """The body of `POST /attest/AzureGuest`."""
        return {"AttestationInfo": b64url(json.dumps(self.info()).encode())}

    def platform_body(self) -> dict[str, Any]:
        """The body of `POST /attest/SevSnpVm`, as Microsoft's Python client sends it."""
        proof = {
            "SnpReport": b64url(self.set.get("SnpReport", self.report())),
            "VcekCertChain": b64url(self.set.get("VcekCertChain", self.chain())),
        }
        data = b64url(self.set.get("RunTimeData", self.runtime()))
        return {
            "report": b64url(json.dumps(proof).encode()),
            "runtimeData": {"data": data, "dataType": "JSON"},
            **self.set.get("platform", {}),
        }


def make_attester(world: World) -> Attester:
    keys = [rsa.generate_private_key(65537, 2048) for _ in range(3)]
    return Attester(world=world, chip=world.silicon.make_chip(), ak=keys[0], ek=keys[1], enc=keys[2])
