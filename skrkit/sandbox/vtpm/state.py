"""What the vTPM keeps over a power cut, and over the end of the process that runs it, as one JSON document.

A sandbox can be killed while its machines "run". So the document holds more than a TPM's NV memory: PCR values, the
NULL hierarchy's seed and keys and the counters are in it too. Sessions and transient objects are not: a guest that held
some gets the same refusals as one whose resource manager restarted.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from skrkit.sandbox import chance
from skrkit.sandbox.vtpm.codes import HIERARCHIES, Rh
from skrkit.sandbox.vtpm.keys import Key
from skrkit.sandbox.vtpm.nv import NvIndex
from skrkit.sandbox.vtpm.pcr import AZURE_BANKS, BANKS, Pcrs

VERSION = 1
SEED_BYTES = 32
PROOF_BYTES = 64
AUTHORITIES = (*HIERARCHIES[:3], Rh.LOCKOUT)


@dataclass(kw_only=True)
class DictionaryAttack:
    """The counter that locks guessed passwords out."""

    failed: int = 0
    last_failure_ms: int = 0
    lockout_enabled: bool = True

    MAX_TRIES = 3
    RECOVERY_S = 1000  # seconds in which one failure is forgotten


@dataclass(kw_only=True)
class VtpmState:
    """All that is kept. Made by `fresh()` or `from_document()`; changed by a `Vtpm` only."""

    seeds: dict[int, bytes] = field(repr=False)
    proofs: dict[int, bytes] = field(repr=False)
    auths: dict[int, bytes] = field(repr=False)
    pcrs: Pcrs
    primaries: dict[tuple[int, str], bytes] = field(default_factory=dict, repr=False)
    persistent: dict[int, Key] = field(default_factory=dict)
    nv: dict[int, NvIndex] = field(default_factory=dict)
    attack: DictionaryAttack = field(default_factory=DictionaryAttack)
    started: bool = False
    reset_count: int = 0
    restart_count: int = 0
    clear_count: int = 0
    context_counter: int = 0
    context_key: bytes = field(default=b"", repr=False)
    clock_base_ms: int = 0
    clock_since: float = field(default_factory=chance.monotonic)

    @classmethod
    def fresh(cls, *, banks: Sequence[str] = AZURE_BANKS) -> VtpmState:
        """Return the state of a TPM that has just been made: new seeds, no key, no index, not started."""
        return cls(
            seeds={int(each): chance.token_bytes("vtpm/seed", SEED_BYTES) for each in HIERARCHIES},
            proofs={int(each): chance.token_bytes("vtpm/proof", PROOF_BYTES) for each in HIERARCHIES},
            auths={int(each): b"" for each in AUTHORITIES},
            pcrs=Pcrs.fresh(banks),
            context_key=chance.token_bytes("vtpm/context", SEED_BYTES),
        )

    def clock_ms(self) -> int:
        """Return the TPM's clock: milliseconds that it has been powered, over all its life."""
        return self.clock_base_ms + int((chance.monotonic() - self.clock_since) * 1000)

    def forget_null_hierarchy(self) -> None:
        """Give the NULL hierarchy a new seed and proof, as every TPM Reset does, and drop its keys."""
        self.seeds[Rh.NULL] = chance.token_bytes("vtpm/seed", SEED_BYTES)
        self.proofs[Rh.NULL] = chance.token_bytes("vtpm/proof", PROOF_BYTES)
        self.primaries = {at: key for at, key in self.primaries.items() if at[0] != Rh.NULL}

    def to_document(self) -> dict[str, Any]:
        """Return the state as JSON members; bytes as base64. It holds private keys and seeds: a secret in the clear."""
        return {
            "version": VERSION,
            "seeds": _texts(self.seeds),
            "proofs": _texts(self.proofs),
            "auths": _texts(self.auths),
            "pcrs": self.pcrs.to_document(),
            "primaries": [[hierarchy, name, _text(key)] for (hierarchy, name), key in self.primaries.items()],
            "persistent": {f"{handle:08x}": key.to_document() for handle, key in self.persistent.items()},
            "nv": {f"{index:08x}": held.to_document() for index, held in self.nv.items()},
            "attack": [self.attack.failed, self.attack.last_failure_ms, self.attack.lockout_enabled],
            "started": self.started,
            "counts": [self.reset_count, self.restart_count, self.clear_count, self.context_counter],
            "context_key": _text(self.context_key),
            "clock_ms": self.clock_ms(),
        }

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> VtpmState:
        """Return the state that `to_document` wrote. Raises `ValueError` for another version's."""
        if document["version"] != VERSION:
            raise ValueError(f"vTPM state version {document['version']}, this is {VERSION}")
        failed, last_failure_ms, lockout_enabled = document["attack"]
        reset_count, restart_count, clear_count, context_counter = document["counts"]
        banks = document["pcrs"]["banks"]
        pcrs = Pcrs(
            {BANKS[name]: [bytes.fromhex(value) for value in bank] for name, bank in banks.items()},
            document["pcrs"]["counter"],
        )
        return cls(
            seeds=_bytes_by_handle(document["seeds"]),
            proofs=_bytes_by_handle(document["proofs"]),
            auths=_bytes_by_handle(document["auths"]),
            pcrs=pcrs,
            primaries={(hierarchy, name): base64.b64decode(key) for hierarchy, name, key in document["primaries"]},
            persistent={int(handle, 16): Key.from_document(key) for handle, key in document["persistent"].items()},
            nv={int(index, 16): NvIndex.from_document(held) for index, held in document["nv"].items()},
            attack=DictionaryAttack(failed=failed, last_failure_ms=last_failure_ms, lockout_enabled=lockout_enabled),
            started=document["started"],
            reset_count=reset_count,
            restart_count=restart_count,
            clear_count=clear_count,
            context_counter=context_counter,
            context_key=base64.b64decode(document["context_key"]),
            clock_base_ms=document["clock_ms"],
        )


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _texts(values: dict[int, bytes]) -> dict[str, str]:
    return {f"{handle:08x}": _text(value) for handle, value in values.items()}


def _bytes_by_handle(values: dict[str, str]) -> dict[int, bytes]:
    return {int(handle, 16): base64.b64decode(value) for handle, value in values.items()}
