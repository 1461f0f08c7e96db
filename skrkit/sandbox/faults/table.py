"""The table of faults, group by group. A group's module is imported when a fault of it is asked for."""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module

from skrkit.errors import UsageError
from skrkit.sandbox.faults.fault import Fault

# In the order in which a release passes them: of two faults, the one further up shows first.
GROUPS = ("machine", "identity", "network", "evidence", "token", "access-token", "access", "key", "policy", "response")


def faults_of(group: str) -> tuple[Fault, ...]:
    """Return the faults of one group of `GROUPS`."""
    faults: tuple[Fault, ...] = import_module(f"skrkit.sandbox.faults.{group.replace('-', '_')}").FAULTS
    return faults


def all_faults() -> tuple[Fault, ...]:
    """Return every fault, group by group."""
    return tuple(fault for group in GROUPS for fault in faults_of(group))


def fault_named(name: str) -> Fault:
    """Return the fault of that name. Raises `UsageError` with the names most like it for any other."""
    group = name.partition(".")[0]
    known = faults_of(group) if group in GROUPS else ()
    for fault in known:
        if fault.name == name:
            return fault
    names = [fault.name for fault in all_faults()]
    near = get_close_matches(name, names, n=3, cutoff=0.5) or [fault.name for fault in known]
    raise UsageError(
        what="fault",
        where="its name",
        expected=" or ".join(near) if near else f"one of {', '.join(GROUPS)}, a dot, and a name",
        found=repr(name),
        fix="skrkit sandbox fault --list",
    )
