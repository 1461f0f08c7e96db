"""An artefact: one thing that a step of the flow makes, with the sentence that says what it proves."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from skrkit.wire import Described, Json

STEP_TITLES = {
    1: "Give the confidential VM an identity",
    2: "Let that identity release the key, and nothing more",
    3: "Create an exportable key with a release policy",
    4: "Attest inside the VM, release the key, unwrap it in the vTPM",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Artefact:
    """One artefact of step `step`, shown in the order it is made.

    `name` is stable and unique in its step ("hcl-report"): files and links are named by it. `proves` is one sentence;
    `next` says what the next step needs of it. `body` is a parsed model or a JSON value, and what a view shows.
    `raw` is what `--save` writes when that is not the body itself: bytes as they went over the wire. A secret never
    becomes an artefact; its digest or its public half does. `points_at` are the dotted paths of the fields that
    `proves` and `next` speak of: a view that is cut short still shows them.
    """

    step: int
    name: str
    title: str
    proves: str
    next: str
    body: Described | Json
    raw: bytes | None = field(default=None, repr=False)
    points_at: tuple[str, ...] = ()

    @property
    def saved(self) -> bytes | None:
        """The bytes that `--save` writes beside the decoded JSON, or None when there are none."""
        if self.raw is not None:
            return self.raw
        return self.body.raw if isinstance(self.body, Described) else None

    def to_json(self) -> dict[str, Json]:
        """Return the artefact as JSON: what `--json` prints and the index of `--save` holds."""
        described = isinstance(self.body, Described)
        members: dict[str, Json] = {
            "step": self.step,
            "name": self.name,
            "title": self.title,
            "proves": self.proves,
            "next": self.next,
            "kind": self.body.kind if isinstance(self.body, Described) else "json",
            "body": self.body.fields() if isinstance(self.body, Described) else self.body,
        }
        if described or self.raw is not None:
            saved = self.saved or b""
            members["size"] = len(saved)
            members["sha256"] = hashlib.sha256(saved).hexdigest()
        return members


Show: TypeAlias = Callable[[Artefact], None]
"""What is done with each artefact as soon as it is made."""


@dataclass(slots=True)
class Collector:
    """Artefacts in the order they were made. Each is passed to `show` at once, so that a person sees it happen."""

    step: int
    show: Show | None = None
    made: list[Artefact] = field(default_factory=list)

    def add(
        self,
        name: str,
        title: str,
        body: Described | Json,
        *,
        proves: str,
        next: str,  # noqa: A002 - the artefact's own word for it
        raw: bytes | None = None,
        points_at: tuple[str, ...] = (),
    ) -> None:
        """Keep one more artefact and show it."""
        self.keep(
            Artefact(
                step=self.step,
                name=name,
                title=title,
                proves=proves,
                next=next,
                body=body,
                raw=raw,
                points_at=points_at,
            )
        )

    def keep(self, artefact: Artefact) -> None:
        """Keep an artefact that is made already, and show it."""
        self.made.append(artefact)
        if self.show is not None:
            self.show(artefact)
