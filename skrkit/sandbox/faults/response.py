"""Faults of the group response."""

from __future__ import annotations

from skrkit.sandbox.faults.fault import Fault

FAULTS: tuple[Fault, ...] = ()
