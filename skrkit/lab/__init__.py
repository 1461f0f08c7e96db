"""What the notebooks call: the world, its views, and checks of what an attendee found out."""

from __future__ import annotations

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
    "policy_workbench": "workbench",
    "trust_chain": "trust_chain",
    "ledger": "ledger",
    "sequence": "sequence",
    "tamper": "tamper",
    "tampered": "tamper",
    "FAULTS": "tamper",
}
__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> object:
    """Return a public name, imported when it is first asked for: `from skrkit import lab` does no work."""
    if name in _PUBLIC:
        from importlib import import_module

        value: object = getattr(import_module(f"skrkit.lab.{_PUBLIC[name]}"), name)
        globals()[name] = value  # a submodule of the same name would stand in its place from now on
        return value
    raise AttributeError(f"module 'skrkit.lab' has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return the public names, for completion."""
    return list(__all__)
