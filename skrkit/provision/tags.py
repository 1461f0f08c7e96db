"""The tag that skrkit sets on what it makes in Azure, so that teardown removes that and nothing else."""

from __future__ import annotations

from collections.abc import Mapping

TAG = "skrkit"
WALKTHROUGH = {TAG: "walkthrough"}
DEPLOY = {TAG: "deploy"}  # as the templates have it


def is_ours(tags: Mapping[str, str] | None) -> bool:
    """Return whether these are the tags of something that skrkit made. Azure's tag names have no letter case."""
    return any(name.lower() == TAG for name in tags or {})
