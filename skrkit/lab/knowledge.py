"""Who knows what: what the VM, Key Vault, MAA, the operator and the network have seen after each step."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from skrkit.artefact import STEP_TITLES
from skrkit.errors import UsageError
from skrkit.lab.display import Display, text_of
from skrkit.render.html import box, heading, table, text
from skrkit.render.view import Row, Rows, View

PARTIES = ("VM", "Key Vault", "MAA", "operator", "network")
NOTHING = "nothing new"
_NETWORK = "TLS to {}: names, sizes and times, no content"

LEDGER: Mapping[int, Mapping[str, str]] = MappingProxyType(
    {
        0: {
            "VM": "its vTPM, whose private keys never leave it",
            "operator": "the names of resource group, vault and VM",
            "network": _NETWORK.format("management.azure.com"),
        },
        1: {
            "VM": "an access token for Key Vault: a secret of the VM until it expires",
            "operator": "the object id of the VM's identity; no credential, there is none to see",
            "network": _NETWORK.format("management.azure.com") + "; the VM's call to IMDS does not leave the host",
        },
        2: {
            "Key Vault": "that this object id may release keys, and nothing else",
            "operator": "the vault's access list",
            "network": _NETWORK.format("management.azure.com"),
        },
        3: {
            "Key Vault": "the private key, made in its HSM, and the release policy",
            "operator": "the public half, the key's id and the policy; not the private half",
            "network": _NETWORK.format("the vault"),
        },
        4: {
            "VM": "the evidence, the attestation token, and the released private key, in encrypted memory",
            "Key Vault": "the attestation token with all its claims; the public half of the vTPM's ephemeral key",
            "MAA": "the evidence: HCL report, certificates, quote, PCRs, event log, ephemeral public key; not the key",
            "operator": "that a key was released, if the vault logs; not token or key, unless it can log in to the VM",
            "network": _NETWORK.format("MAA and the vault")
            + "; MAA's answer and the released key are sealed to a key of the vTPM besides",
        },
    }
)


def ledger(step: int = 4) -> Display:
    """Return a table of what each party has seen after each step up to `step`, 0 to 4. The last row is this step's.

    Raises `UsageError` for another step.
    """
    if step not in LEDGER or isinstance(step, bool):
        raise UsageError(
            what="lab.ledger", where="step", expected="0, 1, 2, 3 or 4", found=repr(step), fix="lab.ledger(step=4)"
        )
    rows = [_row(number, number == step) for number in range(step + 1)]
    title = f"Who knows what after step {step}" if step else "Who knows what before step 1"
    html = box(heading(title) + table(("after", *PARTIES), rows))
    blocks = tuple(
        Rows(title=_name(number), rows=tuple(Row(name=party, value=_seen(number, party)) for party in PARTIES))
        for number in range(step + 1)
    )
    return Display(text_of(View(heading=title, blocks=blocks)), html)


def _name(number: int) -> str:
    return f"Step {number}: {STEP_TITLES[number]}" if number else "The stage is set"


def _seen(number: int, party: str) -> str:
    return LEDGER[number].get(party, NOTHING)


def _row(number: int, current: bool) -> tuple[str, ...]:
    name = f"<strong>▶ {text(_name(number))}</strong>" if current else text(_name(number))
    cells = []
    for party in PARTIES:
        seen = text(_seen(number, party))
        quiet = f"<small>{seen}</small>" if seen == NOTHING else seen
        cells.append(f"<strong>{seen}</strong>" if current and seen != NOTHING else quiet)
    return (name, *cells)
