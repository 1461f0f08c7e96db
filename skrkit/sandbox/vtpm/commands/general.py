"""Starting, testing, randomness, the clock, and the values of hierarchies."""

from __future__ import annotations

from skrkit.sandbox import chance
from skrkit.sandbox.vtpm.algorithms import digest_size
from skrkit.sandbox.vtpm.buffer import Reader, tpm2b, u8, u32, u64
from skrkit.sandbox.vtpm.codes import CONTEXT_HASH_ALG, MAX_DIGEST, Cc, Rc, TpmError, parameter_error
from skrkit.sandbox.vtpm.core import Core
from skrkit.sandbox.vtpm.registry import Handles, Reply, Role, command
from skrkit.sandbox.vtpm.structures import read_test_parameters

SU_CLEAR, SU_STATE = 0x0000, 0x0001
MAX_STIR = 128


def _startup_type(reader: Reader) -> int:
    kind = reader.u16()
    if kind not in (SU_CLEAR, SU_STATE):
        raise TpmError(Rc.VALUE)
    return kind


def _yes_no(reader: Reader) -> int:
    value = reader.u8()
    if value > 1:
        raise TpmError(Rc.VALUE)
    return value


@command(Cc.Startup, _startup_type, sessions=False)
def startup(core: Core, kind: int) -> Reply:
    """TPM2_Startup: only before the TPM is started, and only CLEAR: no state to resume is kept."""
    if kind == SU_STATE:
        raise parameter_error(1, Rc.VALUE)
    core.start(clear=True)
    return Reply()


@command(Cc.Shutdown, _startup_type)
def shutdown(core: Core, kind: int) -> Reply:
    """TPM2_Shutdown: there is nothing to prepare, since every answered command is already kept."""
    return Reply()


@command(Cc.SelfTest, _yes_no)
def self_test(core: Core, full: int) -> Reply:
    """TPM2_SelfTest: nothing is tested here; the libraries below test themselves."""
    return Reply()


@command(Cc.GetTestResult)
def get_test_result(core: Core) -> Reply:
    """TPM2_GetTestResult: no data, success."""
    return Reply(parameters=tpm2b(b"") + u32(Rc.SUCCESS))


@command(Cc.GetRandom, Reader.u16, answer_sized=True)
def get_random(core: Core, count: int) -> Reply:
    """TPM2_GetRandom: at most one digest's worth, whatever is asked for."""
    return Reply(parameters=tpm2b(chance.token_bytes("vtpm/random", min(count, MAX_DIGEST))))


@command(Cc.StirRandom, lambda reader: reader.sized(MAX_STIR), first_sized=True)
def stir_random(core: Core, data: bytes) -> Reply:
    """TPM2_StirRandom: taken and dropped; the operating system's generator needs no stirring."""
    return Reply()


@command(Cc.ReadClock)
def read_clock(core: Core) -> Reply:
    """TPM2_ReadClock: TPMS_TIME_INFO."""
    clock, resets, restarts, safe = core.clock_info()
    return Reply(parameters=u64(clock) + u64(clock) + u32(resets) + u32(restarts) + u8(safe))


@command(
    Cc.HierarchyChangeAuth,
    lambda reader: reader.sized(MAX_DIGEST),
    handles=((Handles.HIERARCHY_AUTH, Role.USER),),
    first_sized=True,
)
def hierarchy_change_auth(core: Core, hierarchy: int, value: bytes) -> Reply:
    """TPM2_HierarchyChangeAuth: set the value of a hierarchy or of the lockout."""
    value = value.rstrip(b"\x00")
    if len(value) > digest_size(CONTEXT_HASH_ALG):
        raise parameter_error(1, Rc.SIZE)
    core.state.auths[hierarchy] = value
    core.dirty = True
    return Reply()


@command(Cc.DictionaryAttackLockReset, handles=((Handles.LOCKOUT, Role.USER),))
def dictionary_attack_lock_reset(core: Core, lockout: int) -> Reply:
    """TPM2_DictionaryAttackLockReset: forget the failures."""
    core.state.attack.failed = 0
    core.dirty = True
    return Reply()


@command(Cc.TestParms, read_test_parameters)
def test_parms(core: Core, parameters: None) -> Reply:
    """TPM2_TestParms: parameters that were read are parameters that can be used."""
    return Reply()
