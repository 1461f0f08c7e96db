"""The attester on a TPM that is no confidential VM's, and on one that is: what it writes, and how it ends."""

from __future__ import annotations

import platform
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from skrkit.cloud import Cloud
from skrkit.errors import ServiceError, UsageError
from skrkit.sandbox.hcl import build_hcl_report, runtime_claims
from skrkit.sandbox.vtpm import Vtpm, VtpmState
from skrkit.services import attester
from skrkit.services.attester import Attester, write_user_data
from skrkit.tpm.client import Tpm

NV_WRITES = (0x0000012A, 0x00000137, 0x00000122)  # TPM2_NV_DefineSpace, NV_Write, NV_UndefineSpace: Part 2, 6.5.2


@dataclass
class Wire:
    """A vTPM in reach of `Tpm`, which can be cut."""

    vtpm: Vtpm
    cut: bool = False
    commands: list[int] = field(default_factory=list)

    def transceive(self, command: bytes) -> bytes:
        self.commands.append(int.from_bytes(command[6:10], "big"))
        if self.cut:
            raise ServiceError(what="vTPM", where="wire", expected="an answer", found="none", fix="Mend it.")
        return self.vtpm.transceive(command)

    def close(self) -> None:
        return


def bare() -> Wire:
    vtpm = Vtpm(VtpmState.fresh())
    vtpm.startup(clear=True)
    return Wire(vtpm)


def inside(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> Attester:
    monkeypatch.setattr(Cloud, "open_tpm", lambda _cloud, **options: Tpm(wire, **options))
    return Attester(replace(Cloud.azure(), tpm_spec="device:none"))


def test_a_tpm_of_another_machine_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = bare()
    with inside(wire, monkeypatch) as opened, pytest.raises(UsageError) as caught:
        opened.collect(user_data=b"x")
    assert (caught.value.what, caught.value.where) == ("the vTPM", "NV index 0x01400001")
    assert "nothing was written" in caught.value.found
    assert wire.commands
    assert not set(wire.commands) & set(NV_WRITES)


@pytest.mark.parametrize("size", [None, 64, 32])
def test_user_data_is_written_whatever_the_index_was(size: int | None) -> None:
    wire = bare()
    with Tpm(wire) as tpm:
        if size is not None:
            tpm.nv_define(0x01400002, size)
        write_user_data(tpm, b"abc")
        assert tpm.nv_read(0x01400002) == b"abc" + bytes(61)
        with pytest.raises(UsageError) as caught:
            write_user_data(tpm, bytes(65))
    assert (caught.value.expected, caught.value.found) == ("at most 64 bytes", "65 bytes")


@dataclass
class Paravisor:
    """A TPM whose report follows the user data only at the read of this number, as a paravisor's does for 2 s."""

    fresh_at: int
    reads: int = 0

    def nv_read(self, index: int) -> bytes:
        assert index == 0x01400001
        self.reads += 1
        return self.report(b"now" if self.reads >= self.fresh_at else b"before")

    @staticmethod
    def report(user_data: bytes) -> bytes:
        claims = runtime_claims(ak=1 << 2047, ek=1 << 2047, vm_id="v", secure_boot=True, user_data=user_data)
        return build_hcl_report(bytes(1184), claims)


@pytest.mark.parametrize(("fresh_at", "reads", "fresh"), [(1, 1, True), (3, 3, True), (7, 7, True), (8, 7, False)])
def test_a_report_of_before_is_read_again_for_three_seconds(
    monkeypatch: pytest.MonkeyPatch, fresh_at: int, reads: int, fresh: bool
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    tpm: Any = Paravisor(fresh_at)
    report = attester._read_report(tpm, b"now")
    assert (report == Paravisor.report(b"now"), tpm.reads) == (fresh, reads)
    assert sum(waits) == 0.5 * (reads - 1)
    assert sum(waits) <= 3


def test_an_attester_that_is_not_open_says_so() -> None:
    for ask in (lambda: Attester(Cloud.azure()).tpm, lambda: Attester(Cloud.azure()).decrypt(b"", "rsaes")):
        with pytest.raises(UsageError):
            ask()


def with_key(wire: Wire, opened: Attester) -> Any:
    key = opened.tpm.create_ephemeral_key(opened.pcrs)
    opened._key = key
    return key


def test_the_ephemeral_key_is_flushed_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = bare()
    with inside(wire, monkeypatch) as opened:
        handle = with_key(wire, opened).handle
    assert wire.commands[-1] == 0x00000165  # TPM2_FlushContext
    with Tpm(wire) as tpm, pytest.raises(ServiceError):
        tpm.read_public(handle)


def test_an_interruption_is_not_hidden_by_a_tpm_that_cannot_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = bare()
    with pytest.raises(KeyboardInterrupt), inside(wire, monkeypatch) as opened:  # noqa: PT012
        with_key(wire, opened)
        wire.cut = True
        raise KeyboardInterrupt


def test_a_flush_that_fails_at_a_good_end_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = bare()
    with pytest.raises(ServiceError), inside(wire, monkeypatch) as opened:  # noqa: PT012
        with_key(wire, opened)
        wire.cut = True


def test_linux_attests_what_microsoft_s_client_attests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    assert Attester(Cloud.azure()).pcrs == (0, 1, 2, 3, 4, 5, 6, 7)
    monkeypatch.setattr(platform, "system", lambda: "Windows")
    assert Attester(Cloud.azure()).pcrs == (0, 1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 14)
