"""Faults of the group access."""

from __future__ import annotations

from skrkit.sandbox.faults.fault import Fault

FAULTS: tuple[Fault, ...] = ()
