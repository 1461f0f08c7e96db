"""What the notebooks call: the world, its views, and checks of what an attendee found out."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # for editors and type checkers; a kernel imports each when it is first asked for
    from skrkit.lab.bytes_view import diff_bytes as diff_bytes
    from skrkit.lab.bytes_view import explore_bytes as explore_bytes
    from skrkit.lab.comparison_view import token_against_evidence as token_against_evidence
    from skrkit.lab.diagram import sequence as sequence
    from skrkit.lab.display import show as show
    from skrkit.lab.exercise import check as check
    from skrkit.lab.faults import FAULTS as FAULTS
    from skrkit.lab.faults import tamper as tamper
    from skrkit.lab.faults import tampered as tampered
    from skrkit.lab.knowledge import ledger as ledger
    from skrkit.lab.session import World as World
    from skrkit.lab.session import ensure as ensure
    from skrkit.lab.session import reset as reset
    from skrkit.lab.session import start as start
    from skrkit.lab.token_view import explore_token as explore_token
    from skrkit.lab.troubleshooting import bundle as bundle
    from skrkit.lab.troubleshooting import causes as causes
    from skrkit.lab.troubleshooting import doctor as doctor
    from skrkit.lab.troubleshooting import explain as explain
    from skrkit.lab.troubleshooting import fault as fault
    from skrkit.lab.troubleshooting import replay as replay
    from skrkit.lab.vouching import trust_chain as trust_chain
    from skrkit.lab.workbench import policy_workbench as policy_workbench

_PUBLIC = {
    "start": "session",
    "ensure": "session",
    "reset": "session",
    "World": "session",
    "check": "exercise",
    "show": "display",
    "explore_bytes": "bytes_view",
    "diff_bytes": "bytes_view",
    "explore_token": "token_view",
    "token_against_evidence": "comparison_view",
    "policy_workbench": "workbench",
    "trust_chain": "vouching",
    "ledger": "knowledge",
    "sequence": "diagram",
    "tamper": "faults",
    "tampered": "faults",
    "FAULTS": "faults",
    "causes": "troubleshooting",
    "explain": "troubleshooting",
    "fault": "troubleshooting",
    "doctor": "troubleshooting",
    "bundle": "troubleshooting",
    "replay": "troubleshooting",
}
__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> object:
    """Return a public name, imported when it is first asked for: `from skrkit import lab` does no work."""
    if name in _PUBLIC:
        from importlib import import_module

        value: object = getattr(import_module(f"skrkit.lab.{_PUBLIC[name]}"), name)
        globals()[name] = value  # no public name is that of a module here: importing one would take its place
        return value
    raise AttributeError(f"module 'skrkit.lab' has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return the public names, for completion."""
    return list(__all__)
