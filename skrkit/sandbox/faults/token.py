"""Faults of the group token."""

from __future__ import annotations

from skrkit.sandbox.faults.fault import Fault

FAULTS: tuple[Fault, ...] = ()
