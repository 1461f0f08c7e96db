"""A TPM 2.0 in pure Python, for the sandbox's machines. It gives NO protection: keys are in this process's memory.

`Vtpm(VtpmState.fresh())` is one; `transceive(bytes) -> bytes` is all of it that a guest sees. It checks what a TPM
checks, and its refusals carry a TPM's return codes, held against libtpms in the tests.

Absent, and refused by name (TPM_RC_COMMAND_CODE, TPM_RC_TYPE): sealed and symmetric objects, duplication and import,
activation of credentials, other NV types than ordinary, NV locks, policy tickets and signatures, hash sequences, audit
of commands, hierarchy control, dictionary-attack parameters, localities other than 0.
"""

from skrkit.sandbox.vtpm.state import VtpmState
from skrkit.sandbox.vtpm.vtpm import Vtpm

__all__ = ["Vtpm", "VtpmState"]
