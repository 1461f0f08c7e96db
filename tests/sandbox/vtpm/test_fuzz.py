"""Any bytes in: a well-formed response out, no exception, no fault inside."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skrkit.sandbox.vtpm import Vtpm, VtpmState
from skrkit.sandbox.vtpm.registry import COMMANDS
from tests.sandbox.vtpm import raw
from tests.sandbox.vtpm.corpus import Run, play
from tests.sandbox.vtpm.raw import command, create_primary

QUIET = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def vtpm() -> Vtpm:
    """A vTPM with a key, an index and a session to hit."""
    made = Vtpm(VtpmState.fresh())
    made.startup(clear=True)
    made.create_ak()
    made.transceive(create_primary(raw.OWNER, raw.STORAGE))
    made.platform_nv_define(0x01400001, 2600, 0x42060004)
    made.platform_nv_write(0x01400001, b"HCLA")
    made.transceive(raw.start_session(1))
    return made


@pytest.fixture(scope="module")
def valid() -> list[bytes]:
    """Every command of the differential corpus."""
    sent: list[bytes] = []
    held: list[Vtpm] = []

    def renew() -> None:
        held.append(Vtpm(VtpmState.fresh()))

    def transceive(data: bytes) -> bytes:
        sent.append(data)
        return held[-1].transceive(data)

    play(Run(transceive, renew))
    return sent


def check(vtpm: Vtpm, data: bytes) -> None:
    response = vtpm.transceive(data)
    tag, size, code = int.from_bytes(response[:2], "big"), int.from_bytes(response[2:6], "big"), raw.code_of(response)
    assert vtpm.faults == 0, data.hex()
    assert size == len(response) <= 4096
    assert tag in (0x8001, 0x8002, 0x00C4)
    if code:
        assert len(response) == 10
        assert tag != 0x8002
    for handle in list(vtpm._core.objects)[1:]:  # keep room for what the next one loads
        del vtpm._core.objects[handle]
    for session in list(vtpm._core.sessions.loaded)[1:]:
        vtpm._core.sessions.flush(session)


@QUIET
@given(data=st.binary(max_size=200))
def test_random_bytes(vtpm: Vtpm, data: bytes) -> None:
    check(vtpm, data)


HANDLES = st.sampled_from(
    [0, 9, 0x01400001, 0x03000000, raw.OWNER, raw.NULL, raw.LOCKOUT, raw.ENDORSEMENT, 0x80000000, 0x81000003]
)


@QUIET
@given(
    code=st.sampled_from(sorted(COMMANDS)),
    handles=st.lists(HANDLES, max_size=3),
    parameters=st.binary(max_size=80),
    auths=st.integers(0, 3),
)
def test_every_command_with_random_parameters(
    vtpm: Vtpm, code: int, handles: list[int], parameters: bytes, auths: int
) -> None:
    check(vtpm, command(code, handles, parameters, [raw.password()] * auths))


@QUIET
@given(data=st.data())
def test_mutated_commands(vtpm: Vtpm, valid: list[bytes], data: st.DataObject) -> None:
    mutated = bytearray(data.draw(st.sampled_from(valid)))
    for at in data.draw(st.lists(st.integers(0, max(0, len(mutated) - 1)), max_size=3)) if mutated else []:
        mutated[at] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        mutated = mutated[: data.draw(st.integers(0, len(mutated)))]
    if data.draw(st.booleans()) and len(mutated) >= 6:
        mutated[2:6] = len(mutated).to_bytes(4, "big")
    check(vtpm, bytes(mutated))


def test_an_oversized_command_is_refused_by_its_size(vtpm: Vtpm) -> None:
    big = command(0x146, [], raw.b2(bytes(4100)))
    assert raw.code_of(vtpm.transceive(big)) == 0x142


def test_a_bug_is_answered_as_a_failure_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    def bug(index: int, offset: int) -> None:
        raise RuntimeError("paravisor")

    vtpm = Vtpm(VtpmState.fresh(), on_nv_read=bug)
    vtpm.startup(clear=True)
    vtpm.platform_nv_define(0x01400001, 8, 0x42060004)
    vtpm.platform_nv_write(0x01400001, b"x")
    read = command(0x14E, [raw.OWNER, 0x01400001], bytes.fromhex("00010000"), [raw.password()])
    assert vtpm.transceive(read) == bytes.fromhex("80010000000a00000101")
    assert vtpm.faults == 1
    assert "paravisor" in caplog.text
