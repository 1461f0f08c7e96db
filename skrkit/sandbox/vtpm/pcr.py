"""Platform Configuration Registers: 24 of them in each bank, extended, never written."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from skrkit.sandbox.vtpm.algorithms import HASH_NAMES, digest, digest_size
from skrkit.sandbox.vtpm.codes import PCR_COUNT, Alg
from skrkit.sandbox.vtpm.structures import PcrSelection, Selections

BANKS: dict[str, int] = {name: int(alg) for alg, name in HASH_NAMES.items()}
AZURE_BANKS = ("sha1", "sha256", "sha384")
RESETTABLE = (16, 23)  # by anybody, at locality 0: the debug PCR and the application's
LOCALITY_ONLY = range(17, 23)  # dynamic launch: nothing at locality 0 may extend them
UNCOUNTED = (16, 21, 22, 23)  # a change of these does not move the update counter
READ_LIMIT = 8  # digests in one TPM2_PCR_Read


@dataclass
class Pcrs:
    """The banks, by algorithm number, and the update counter that policies compare."""

    banks: dict[int, list[bytes]] = field(default_factory=dict)
    counter: int = 0

    @classmethod
    def fresh(cls, banks: Iterable[str]) -> Pcrs:
        """Return the PCRs of the named banks as they are before the first start."""
        pcrs = cls({BANKS[name]: [] for name in banks})
        pcrs.start()
        return pcrs

    def start(self) -> None:
        """Reset every PCR as a TPM Reset does: zeros, and ones in those of the dynamic launch."""
        for alg in self.banks:
            size = digest_size(alg)
            self.banks[alg] = [b"\xff" * size if pcr in LOCALITY_ONLY else bytes(size) for pcr in range(PCR_COUNT)]
        self.counter = PCR_COUNT - len(UNCOUNTED)

    def extend(self, pcr: int, alg: int, value: bytes) -> None:
        """Extend one PCR of one bank; a bank that is not there is left out, as the TPM does."""
        bank = self.banks.get(alg)
        if bank is not None:
            bank[pcr] = digest(alg, bank[pcr], value)
            if pcr not in UNCOUNTED:
                self.counter += 1  # once for each bank

    def reset(self, pcr: int) -> None:
        """Set one PCR to zeros in every bank."""
        for alg, bank in self.banks.items():
            bank[pcr] = bytes(digest_size(alg))

    def present(self, selections: Selections) -> Selections:
        """Return the selections with the bits cleared that no bank has."""
        return tuple(
            PcrSelection(alg=each.alg, bitmap=each.bitmap if each.alg in self.banks else bytes(len(each.bitmap)))
            for each in selections
        )

    def digest(self, alg: int, selections: Selections) -> bytes:
        """Return the digest of the selected values, in order of selection and then of PCR."""
        return digest(alg, *(self.banks[each.alg][pcr] for each in self.present(selections) for pcr in each.pcrs()))

    def read(self, selections: Selections) -> tuple[Selections, list[bytes]]:
        """Return the first `READ_LIMIT` selected values, and the selection of just those."""
        values: list[bytes] = []
        answered = []
        for each in self.present(selections):
            bits = 0
            for pcr in each.pcrs():
                if len(values) < READ_LIMIT:
                    values.append(self.banks[each.alg][pcr])
                    bits |= 1 << pcr
            answered.append(PcrSelection(alg=each.alg, bitmap=bits.to_bytes(len(each.bitmap), "little")))
        return tuple(answered), values

    def to_document(self) -> dict[str, object]:
        """Return the values as JSON members: bank name to 24 hex texts."""
        names = {alg: name for name, alg in BANKS.items()}
        return {
            "banks": {names[alg]: [value.hex() for value in bank] for alg, bank in self.banks.items()},
            "counter": self.counter,
        }


def bank_algorithm(name: str) -> int:
    """Return the algorithm number of a bank's name ("sha256")."""
    return int(Alg(BANKS[name]))
