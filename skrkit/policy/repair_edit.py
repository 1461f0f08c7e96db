"""One edit of a policy's JSON: what stands where, before and after. And the document with a list of them applied."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Literal

from skrkit.wire import Json

EditKind = Literal["claim path", "value", "operator", "drop condition", "authority", "add authority"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """One change at one place. `after` is None for what is dropped, `before` for what is added at the end of a list.

    `pointer` is of the policy before all edits; that of an addition ends in "-" (RFC 6902), and what is edited in the
    clause that was added has the pointer that it gets. `why` says why the edit is safe, or what it gives away.
    """

    kind: EditKind
    pointer: str
    before: Json
    after: Json
    safe: bool
    why: str

    @property
    def order(self) -> tuple[tuple[int, str], ...]:
        """The place in the policy's order, array indexes as numbers; an addition comes first."""
        steps = self.pointer.split("/")[1:]
        return tuple((int(step), "") if step.isdigit() else (-(step == "-"), step) for step in steps)

    def to_json(self) -> dict[str, Json]:
        """Return the edit as JSON members."""
        return {
            "kind": self.kind,
            "pointer": self.pointer,
            "before": self.before,
            "after": self.after,
            "safe": self.safe,
            "why": self.why,
        }


def applied(document: dict[str, Json], edits: list[Edit]) -> dict[str, Json]:
    """Return a copy of the policy's document with the edits made: added, then replaced, then dropped from behind."""
    changed = copy.deepcopy(document)
    dropped = [edit for edit in edits if edit.after is None]
    added = [edit for edit in edits if edit.after is not None and edit.before is None]
    for edit in added:
        parent, _ = _parent(changed, edit.pointer)
        assert isinstance(parent, list)
        parent.append(copy.deepcopy(edit.after))
    for edit in edits:
        if edit.after is not None and edit.before is not None:
            _replace(changed, edit)
    for edit in sorted(dropped, key=lambda edit: edit.order, reverse=True):
        parent, name = _parent(changed, edit.pointer)
        assert isinstance(parent, list)
        del parent[int(name)]
    return changed


def _replace(document: dict[str, Json], edit: Edit) -> None:
    parent, name = _parent(document, edit.pointer)
    if isinstance(parent, list):
        parent[int(name)] = edit.after
    elif isinstance(parent, dict):
        parent[name] = edit.after


def _parent(document: dict[str, Json], pointer: str) -> tuple[Json, str]:
    *above, name = pointer.split("/")[1:]
    at: Json = document
    for step in above:
        if isinstance(at, list):
            at = at[int(step)]
        elif isinstance(at, dict):
            at = at[step]
    return at, name
