"""The client against a TPM that skrkit did not write (swtpm), and against answers no TPM would give."""

from __future__ import annotations

import contextlib
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from skrkit.errors import ParseError, ServiceError, UsageError, VerificationError
from skrkit.tpm.client import DecryptScheme, Exchange, Tpm
from skrkit.tpm.commands import AK_HANDLE, Command
from skrkit.tpm.transport import SocketTransport

from .guest_flow import BIG_INDEX, GuestFlow, run_guest_flow

READ_PUBLIC = bytes.fromhex("000e01400001000b6204040400000a28") + bytes(36)


class Answers:
    """A transport that answers from a list, whatever the command."""

    def __init__(self, *responses: bytes) -> None:
        self.responses = list(responses)
        self.commands: list[bytes] = []
        self.closed = False

    def transceive(self, command: bytes) -> bytes:
        self.commands.append(command)
        return self.responses.pop(0) if len(self.responses) > 1 else self.responses[0]

    def close(self) -> None:
        self.closed = True


def answer(parameters: bytes = b"", *, code: int = 0, sessions: bool = False, handle: bytes = b"") -> bytes:
    """Return a response with literal framing."""
    body = handle + (struct.pack(">I", len(parameters)) + parameters + bytes(5) if sessions else parameters)
    return struct.pack(">HII", 0x8002 if sessions else 0x8001, 10 + len(body), code) + body


def test_guest_flow_on_swtpm(swtpm: SocketTransport) -> None:
    # libtpms refuses NV indexes above 2048 bytes
    exchanges = run_guest_flow(swtpm, nv_bytes=2048)
    assert exchanges[-1].name == "TPM2_GetRandom"


def test_swtpm_refuses_by_name(swtpm: SocketTransport) -> None:
    tpm = Tpm(swtpm)
    with pytest.raises(ServiceError) as refused:
        tpm.nv_define(BIG_INDEX, 2049)
    assert refused.value.where == "NV index 0x01500001, 2049 bytes"
    assert refused.value.found == "TPM_RC_SIZE (0x2D5, parameter 2)"
    tpm.nv_define(BIG_INDEX, 8)
    with pytest.raises(ServiceError) as refused:
        tpm.nv_read(BIG_INDEX)
    assert (refused.value.code, refused.value.what) == ("TPM_RC_NV_UNINITIALIZED", "TPM2_NV_Read")
    with pytest.raises(ServiceError) as refused:
        tpm.nv_define(BIG_INDEX, 8)
    assert refused.value.code == "TPM_RC_NV_DEFINED"
    with pytest.raises(ServiceError) as refused:
        tpm.nv_write(BIG_INDEX, bytes(9))
    assert refused.value.code == "TPM_RC_NV_RANGE"
    with pytest.raises(ServiceError) as refused:
        tpm.read_public(AK_HANDLE)
    assert refused.value.fix == "There is no key at this handle. Azure's vTPM has its attestation key at 0x81000003."


def test_persistent_handles_of_swtpm(swtpm: SocketTransport) -> None:
    from skrkit.tpm.templates import ak_template

    tpm = Tpm(swtpm)
    key = tpm.create_primary(ak_template(), hierarchy="endorsement")
    tpm.evict_control(key.handle, AK_HANDLE)
    assert tpm.get_capability(1, 0x81000000, 8) == (False, struct.pack(">II", 1, AK_HANDLE))
    assert tpm.handles(0x81000000) == (AK_HANDLE,)
    tpm.evict_control(AK_HANDLE, AK_HANDLE)
    assert tpm.get_capability(1, 0x81000000, 8) == (False, bytes(4))
    for index in range(0x01500000, 0x01500046):  # more than one answer holds
        tpm.nv_define(index, 1)
    assert tpm.handles(0x01000000) == tuple(range(0x01500000, 0x01500046))
    assert tpm.handles(0x01500040) == tuple(range(0x01500040, 0x01500046))
    more, data = tpm.get_capability(6, 0x12C, 1)  # TPM_CAP_TPM_PROPERTIES, TPM_PT_NV_BUFFER_MAX
    assert (more, struct.unpack(">III", data)) == (True, (1, 0x12C, 1024))


def test_the_same_template_gives_the_same_key(swtpm: SocketTransport) -> None:
    tpm = Tpm(swtpm)
    first = tpm.create_ephemeral_key(range(8))
    tpm.flush(first.handle)
    second = tpm.create_ephemeral_key(range(8))
    assert first.public == second.public
    tpm.flush(second.handle)
    tpm.pcr_extend(0, bytes(32))
    assert tpm.create_ephemeral_key(range(8)).public.unique != first.public.unique


def test_a_password_does_not_open_the_ephemeral_key(swtpm: SocketTransport) -> None:
    tpm = Tpm(swtpm)
    key = tpm.create_ephemeral_key([0])
    with pytest.raises(ServiceError) as refused:
        tpm._channel.run(
            Command.RSA_Decrypt,
            handles=(key.handle,),
            auth=1,
            parameters=b"\x01\0" + bytes(256) + b"\0\x15\0\0",
            where="a test",
        )
    assert refused.value.found == "TPM_RC_AUTH_UNAVAILABLE (0x12F)"


def test_a_wrong_ciphertext_leaves_no_session(swtpm: SocketTransport) -> None:
    tpm = Tpm(swtpm)
    key = tpm.create_ephemeral_key([0])
    for _ in range(5):  # more than the session slots
        with pytest.raises(ServiceError) as refused:
            tpm.rsa_decrypt(key.handle, b"\x01" * 256, scheme="oaep-sha256", pcrs=[0])
        assert refused.value.what == "TPM2_RSA_Decrypt"
        with pytest.raises(ServiceError) as refused:
            tpm.rsa_decrypt(key.handle, b"\x01" * 255, scheme="rsaes", pcrs=[0])
        assert refused.value.what == "TPM2_RSA_Decrypt"


def test_a_ciphertext_for_another_key_is_refused_as_a_failure(swtpm: SocketTransport) -> None:
    """What the release flow takes for "not for this key", told by a TPM that is not skrkit's."""
    tpm, sha256 = Tpm(swtpm), hashes.SHA256()
    key = tpm.create_ephemeral_key([0])
    stranger = rsa.generate_private_key(65537, 2048).public_key()
    pairs: tuple[tuple[DecryptScheme, padding.AsymmetricPadding], ...] = (
        ("rsaes", padding.PKCS1v15()),
        ("oaep-sha256", padding.OAEP(padding.MGF1(sha256), sha256, None)),
    )
    for scheme, padded in pairs:
        with pytest.raises(ServiceError) as refused:
            tpm.rsa_decrypt(key.handle, stranger.encrypt(b"k" * 32, padded), scheme=scheme, pcrs=[0])
        assert refused.value.code == "TPM_RC_FAILURE"


@dataclass
class Replaying:
    """A transport that answers every TPM2_Quote with the first answer that it saw."""

    inner: SocketTransport
    first: bytes = b""

    def transceive(self, command: bytes) -> bytes:
        if command[6:10] != (0x158).to_bytes(4, "big"):  # TPM2_Quote: Part 2, 6.5.2
            return self.inner.transceive(command)
        self.first = self.first or self.inner.transceive(command)
        return self.first

    def close(self) -> None:
        self.inner.close()


@pytest.mark.parametrize(("sent", "expected"), [(b"\x02" * 20, "02" * 20), (b"", "no bytes, since no nonce was sent")])
def test_a_replayed_quote_is_refused(swtpm: SocketTransport, sent: bytes, expected: str) -> None:
    GuestFlow(swtpm).ensure_ak()
    tpm = Tpm(Replaying(swtpm))
    tpm.quote(AK_HANDLE, [0], b"\x01" * 20)
    with pytest.raises(VerificationError) as refused:
        tpm.quote(AK_HANDLE, [0], sent)
    error = refused.value
    assert (error.step, error.what) == ("quote.nonce", "TPM quote extraData")
    assert error.where == "the answer to TPM2_Quote by handle 0x81000003"
    assert (error.expected, error.found) == (expected, "01" * 20)
    assert tpm.quote(AK_HANDLE, [0], b"\x01" * 20)  # what it was made for


def test_retries_what_was_not_started(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("skrkit.tpm.exchange.time.sleep", waits.append)
    seen: list[Exchange] = []
    busy = [answer(code=code) for code in (0x922, 0x908, 0x90A)]
    tpm = Tpm(Answers(*busy, answer(b"\0\x04abcd")), on_exchange=seen.append)
    assert tpm.get_random(4) == b"abcd"
    assert waits == [0.005, 0.01, 0.02]
    assert [e.response[6:10].hex() for e in seen] == ["00000922", "00000908", "0000090a", "00000000"]
    with pytest.raises(ServiceError) as refused:
        Tpm(Answers(busy[0])).get_random(4)
    assert refused.value.found == "TPM_RC_RETRY (0x922)"
    assert "Try again" in refused.value.fix


def test_an_exchange_does_not_show_its_bytes() -> None:
    seen: list[Exchange] = []
    Tpm(Answers(answer(b"\0\x04abcd")), on_exchange=seen.append).get_random(4)
    assert repr(seen[0]).startswith("Exchange(TPM2_GetRandom, 12 bytes out, 16 bytes back, ")
    assert "abcd" not in repr(seen[0])
    assert not seen[0].holds_secret
    assert Exchange(name="TPM2_RSA_Decrypt", command=b"", response=b"", ms=0).holds_secret


def test_commands_are_the_bytes_of_the_specification() -> None:
    transport = Answers(answer(READ_PUBLIC), answer(b"\x04\0" + bytes(1024), sessions=True))
    with pytest.raises(ServiceError), Tpm(transport) as tpm:
        tpm.nv_read(0x01400001)
    assert transport.closed
    assert transport.commands[0].hex() == "80010000000e0000016901400001"
    owner_password = "400000010140000100000009400000090000000000"
    assert [command.hex() for command in transport.commands[1:]] == [
        "8002000000230000014e" + owner_password + "04000000",
        "8002000000230000014e" + owner_password + "04000400",
        "8002000000230000014e" + owner_password + "02280800",
    ]


@pytest.mark.parametrize(
    ("call", "responses", "words"),
    [
        (lambda tpm: tpm.get_random(4), [b"\x80\x01"], "expected at least 10 bytes, found 2 bytes"),
        (lambda tpm: tpm.get_random(4), [answer() + b"\0"], "expected 10 bytes, as its header says, found 11 bytes"),
        (lambda tpm: tpm.get_random(4), [b"\0\xc4" + answer()[2:]], "expected tag 0x8001 or 0x8002, found tag 0x00c4"),
        (lambda tpm: tpm.get_random(4), [answer(b"\0\0")], "expected random bytes, found 0 bytes"),
        (lambda tpm: tpm.get_random(4), [answer(b"\0\x05abcde")], "expected random bytes, found 5 bytes"),
        (lambda tpm: tpm.get_capability(6, 0, 1), [answer(bytes(5))], "expected capability 6, found 0"),
        (
            lambda tpm: tpm.handles(0x01000000),
            [answer(bytes.fromhex("0000000001000000020140000201400001"))],
            "TPM2_GetCapability at handle 0x01000000: expected ascending handles, found 000000020140000201400001",
        ),
        (lambda tpm: tpm.handles(1), [answer(bytes.fromhex("010000000100000000"))], "expected ascending handles"),
        (
            lambda tpm: tpm.nv_read(0x01400001),
            [answer(READ_PUBLIC[:14] + b"\x40\x01" + READ_PUBLIC[16:])],
            "expected at most 16384 bytes, found 16385 bytes",
        ),
        (
            lambda tpm: tpm.nv_read(0x01400001),
            [answer(READ_PUBLIC), answer(b"\0\x01x", sessions=True)],
            "TPM2_NV_Read at NV index 0x01400001, offset 0: expected 1024 bytes, found 1 bytes",
        ),
        (
            lambda tpm: tpm.pcr_read([0]),
            [answer(bytes(4) + bytes.fromhex("00000001000b03000000") + bytes(4))],
            "TPM2_PCR_Read at PCR 0: expected digests of an active bank, found 0 digests for 0 PCRs",
        ),
        (
            lambda tpm: tpm.pcr_read([0]),
            [answer(bytes(4) + bytes.fromhex("00000001000b03010000000000010014") + bytes(20))],
            "expected digests of 32 bytes, found another size",
        ),
    ],
)
def test_odd_answers_are_named(call: Callable[[Tpm], object], responses: list[bytes], words: str) -> None:
    with pytest.raises(ServiceError) as refused:
        call(Tpm(Answers(*responses)))
    assert words in str(refused.value)


def test_pcrs_that_move_while_they_are_read() -> None:
    def batch(counter: int, bits: str, count: int) -> bytes:
        values = (b"\0\x20" + bytes([counter]) * 32) * count
        return answer(
            struct.pack(">I", counter) + bytes.fromhex(f"00000001000b03{bits}") + struct.pack(">I", count) + values
        )

    moved = [batch(1, "ff0000", 8), batch(2, "000100", 1)]
    still = [batch(2, "ff0000", 8), batch(2, "000100", 1)]
    assert set(Tpm(Answers(*moved, *still)).pcr_read(range(9)).values()) == {b"\x02" * 32}
    with pytest.raises(ServiceError, match="expected PCRs at rest, found three updates while reading"):
        Tpm(Answers(*moved, *moved, *moved)).pcr_read(range(9))


def test_usage_is_refused_before_anything_is_sent() -> None:
    transport = Answers(answer())
    tpm = Tpm(transport)
    wrong: Any = "pkcs1"
    with pytest.raises(UsageError, match="expected rsaes, oaep-sha1, oaep-sha256, oaep-sha384, found 'pkcs1'"):
        tpm.rsa_decrypt(1, bytes(256), scheme=wrong, pcrs=[0])
    with pytest.raises(UsageError, match="expected 1 to 65535 bytes, found 0 bytes"):
        tpm.nv_define(1, 0)
    with pytest.raises(UsageError, match="expected one or more of 0 to 23, found none"):
        tpm.create_ephemeral_key([])
    with pytest.raises(UsageError):
        tpm.quote(AK_HANDLE, [24])
    assert transport.commands == []


@settings(max_examples=150, deadline=None)
@given(body=st.binary(max_size=120), sessions=st.booleans(), call=st.integers(0, 6))
def test_any_answer_ends_in_a_named_error(body: bytes, sessions: bool, call: int) -> None:
    tpm = Tpm(Answers(answer(body, sessions=sessions)))
    calls: list[Callable[[], object]] = [
        lambda: tpm.nv_read_public(1),
        lambda: tpm.read_public(1),
        lambda: tpm.pcr_read([0, 1]),
        lambda: tpm.quote(1, [0]),
        lambda: tpm.create_ephemeral_key({0: bytes(32)}),
        lambda: tpm.rsa_decrypt(1, bytes(256), scheme="rsaes", pcrs=[0]),
        lambda: tpm.get_capability(1, 1, 1),
    ]
    with contextlib.suppress(ServiceError, ParseError):  # any other exception fails the test
        calls[call]()


def test_import_pulls_in_nothing_heavy() -> None:
    heavy = ("cryptography", "socket", "ctypes", "asyncio", "azure", "jwt", "rich")
    code = f"import sys, skrkit.tpm.client; print([m for m in {heavy} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert found == "[]\n"
