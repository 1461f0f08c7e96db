"""A conversation recorded with swtpm: the client must say the same bytes again, and read the answers, without swtpm.

`SKRKIT_RECORD=1 pytest tests/tpm/test_recorded.py` records it anew from the swtpm that is installed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import padding

from skrkit.errors import ServiceError
from skrkit.tpm.attest import parse_attest
from skrkit.tpm.client import Exchange, Tpm
from skrkit.tpm.commands import AK_HANDLE, NV_USER_DATA
from skrkit.tpm.public import Public
from skrkit.tpm.transport import SocketTransport

from .guest_flow import SECRET, GuestFlow, rsa_public, verify_pkcs1

RECORDING = Path(__file__).parent / "recorded" / "swtpm.json"
PCRS = tuple(range(8))
NONCE = b"recorded nonce"


@dataclass
class Replay:
    """A transport that knows its conversation by heart, and hears nothing else."""

    lines: list[tuple[str, str]]
    said: list[str] = field(default_factory=list)

    def transceive(self, command: bytes) -> bytes:
        expected, response = self.lines[len(self.said)]
        self.said.append(command.hex())
        assert command.hex() == expected
        return bytes.fromhex(response)

    def close(self) -> None:
        pass


@pytest.fixture(autouse=True)
def _same_nonces(monkeypatch: pytest.MonkeyPatch) -> None:
    def nonce(size: int) -> bytes:
        return bytes(range(size))

    monkeypatch.setattr("skrkit.tpm.client.os.urandom", nonce)


def converse(tpm: Tpm, encrypt: Callable[[Public], bytes]) -> bytes:
    """Go through the flow once, and return the ciphertext that was decrypted."""
    ak = tpm.read_public(AK_HANDLE)
    assert tpm.nv_read(NV_USER_DATA) == bytes(range(64))
    values = tpm.pcr_read(range(24))
    assert len(values) == 24
    attest, signature = tpm.quote(AK_HANDLE, PCRS, NONCE)
    verify_pkcs1(ak, attest, signature)
    assert parse_attest(attest).extra_data == NONCE
    key = tpm.create_ephemeral_key(PCRS)
    attest, signature = tpm.certify(key.handle, AK_HANDLE)
    verify_pkcs1(ak, attest, signature)
    assert parse_attest(attest).certified_name == key.public.name()
    ciphertext = encrypt(key.public)
    assert tpm.rsa_decrypt(key.handle, ciphertext, scheme="rsaes", pcrs=PCRS) == SECRET
    tpm.pcr_extend(0, SECRET)
    with pytest.raises(ServiceError) as refused:
        tpm.rsa_decrypt(key.handle, ciphertext, scheme="rsaes", pcrs=PCRS)
    assert refused.value.code == "TPM_RC_POLICY_FAIL"
    tpm.flush(key.handle)
    with pytest.raises(ServiceError) as refused:
        tpm.nv_read_public(0x01400001)
    assert refused.value.code == "TPM_RC_HANDLE"
    return ciphertext


def test_a_recorded_conversation() -> None:
    recording = json.loads(RECORDING.read_text())
    replay = Replay([(line["command"], line["response"]) for line in recording["exchanges"]])
    converse(Tpm(replay), lambda _: bytes.fromhex(recording["ciphertext"]))
    assert len(replay.said) == len(recording["exchanges"])


def test_swtpm_still_speaks_so(swtpm: SocketTransport) -> None:
    flow = GuestFlow(swtpm)
    flow.ensure_ak()
    flow.tpm.nv_define(NV_USER_DATA, 64)
    flow.tpm.nv_write(NV_USER_DATA, bytes(range(64)))
    exchanges: list[Exchange] = []
    ciphertext = converse(
        Tpm(swtpm, on_exchange=exchanges.append), lambda key: rsa_public(key).encrypt(SECRET, padding.PKCS1v15())
    )
    if os.environ.get("SKRKIT_RECORD"):
        lines = [{"name": e.name, "command": e.command.hex(), "response": e.response.hex()} for e in exchanges]
        RECORDING.parent.mkdir(exist_ok=True)
        RECORDING.write_text(json.dumps({"ciphertext": ciphertext.hex(), "exchanges": lines}, indent=1) + "\n")
    recorded = json.loads(RECORDING.read_text())["exchanges"]
    assert [e.name for e in exchanges] == [line["name"] for line in recorded]
    assert [len(e.command) for e in exchanges] == [len(line["command"]) // 2 for line in recorded]
