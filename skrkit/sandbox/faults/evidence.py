"""Faults of the group evidence."""

from __future__ import annotations

from skrkit.sandbox.faults.fault import Fault

FAULTS: tuple[Fault, ...] = ()
