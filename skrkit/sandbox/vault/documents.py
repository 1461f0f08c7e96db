"""Keys in the store: one document a key name, one a version, one a deleted key. Ids compare without case.

`vault-key-name/<vault>/<name>` has what belongs to the name: current version, exportable, policy.
`vault-key/<vault>/<name>/<version>` has the public key, attributes, and the private key as PEM.
`vault-deleted-key/<vault>/<name>` takes the name document's place while the key is deleted; versions stay.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from skrkit.sandbox.store import Document, Store
from skrkit.sandbox.vault import errors

NAME_KIND = "vault-key-name"
VERSION_KIND = "vault-key"
DELETED_KIND = "vault-deleted-key"
PAGE = 25  # keys in a page at most, and when the caller names no number


def purge_all(store: Store, vault: str) -> None:
    """Remove every key of a vault for good: the vault was purged."""
    with store.transaction():
        for kind in (NAME_KIND, VERSION_KIND, DELETED_KIND):
            for key, _ in store.list(kind, f"{vault}/"):
                store.delete(kind, key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """The keys of one vault or Managed HSM. `vault` is its key space: in lower case, a vault's name."""

    store: Store
    vault: str

    def _id(self, name: str, version: str = "") -> str:
        return "/".join(part.lower() for part in (self.vault, name, version) if part)

    def name(self, name: str) -> Document | None:
        """Return the name document of a live key, or None."""
        return self.store.get(NAME_KIND, self._id(name))

    def require_name(self, name: str) -> Document:
        """Return the name document. Raises `AzureError` 404."""
        found = self.name(name)
        if found is None:
            raise errors.key_not_found(name)
        return found

    def require(self, name: str, version: str = "") -> tuple[Document, Document]:
        """Return name document and version document; the current version if none is given. Raises 404."""
        named = self.name(name)
        if named is None:
            raise errors.key_not_found(name, version)
        found = self.store.get(VERSION_KIND, self._id(name, version or named["current"]))
        if found is None:
            raise errors.key_not_found(name, version)
        return named, found

    def current(self, named: Document) -> Document | None:
        """Return the current version document of a name document; None if it was purged since that was read."""
        return self.store.get(VERSION_KIND, self._id(named["name"], named["current"]))

    def with_current(self, page: Sequence[Document]) -> Iterator[tuple[Document, Document]]:
        """Return each name document of a page with its current version document; without those that a purge took."""
        ids = [self._id(named["name"], named["current"]) for named in page]
        versions = self.store.get_many(VERSION_KIND, ids)
        return ((named, versions[key]) for named, key in zip(page, ids, strict=True) if key in versions)

    def write(self, named: Document, version: Document | None = None) -> None:
        """Write the name document, and the version document if there is one, as one change."""
        with self.store.transaction():
            self.store.put(NAME_KIND, self._id(named["name"]), named)
            if version is not None:
                self.write_version(named["name"], version)

    def write_version(self, name: str, version: Document) -> None:
        """Write a version document."""
        self.store.put(VERSION_KIND, self._id(name, version["version"]), version)

    def names(self, after: str, limit: int) -> list[Document]:
        """Return at most `limit` name documents after the name `after`, in order of name."""
        return self._page(NAME_KIND, f"{self.vault}/", after, limit)

    def versions(self, name: str, after: str, limit: int) -> list[Document]:
        """Return at most `limit` version documents of a key after version `after`, in order of version."""
        return self._page(VERSION_KIND, self._id(name) + "/", after, limit)

    def _page(self, kind: str, prefix: str, after: str, limit: int) -> list[Document]:
        last = prefix + after.lower() if after else ""
        return [body for _, body in self.store.list(kind, prefix, after=last, limit=limit)]

    def every_version(self, name: str) -> Iterator[Document]:
        """Return all versions of a key, one page of them in memory at a time."""
        after = ""
        while page := self.versions(name, after, PAGE):
            yield from page
            after = page[-1]["version"]

    # --- soft delete

    def delete(self, named: Document, *, now: datetime, days: int) -> Document:
        """Return the deleted-key document that took the name's place until `days` from now."""
        deleted = {
            "named": named,
            "deletedDate": int(now.timestamp()),
            "scheduledPurgeDate": int((now + timedelta(days=days)).timestamp()),
        }
        with self.store.transaction():
            self.store.delete(NAME_KIND, self._id(named["name"]))
            self.store.put(DELETED_KIND, self._id(named["name"]), deleted)
        return deleted

    def deleted(self, name: str, *, now: datetime) -> Document | None:
        """Return the deleted-key document, or None. A key whose time is over is purged here."""
        found = self.store.get(DELETED_KIND, self._id(name))
        if found is not None and found["scheduledPurgeDate"] <= now.timestamp():
            self.purge(name)
            return None
        return found

    def require_deleted(self, name: str, *, now: datetime) -> Document:
        """Return the deleted-key document. Raises `AzureError` 404."""
        found = self.deleted(name, now=now)
        if found is None:
            raise errors.deleted_key_not_found(name)
        return found

    def deleted_names(self, after: str, limit: int) -> list[Document]:
        """Return at most `limit` deleted-key documents after the name `after`."""
        return self._page(DELETED_KIND, f"{self.vault}/", after, limit)

    def recover(self, deleted: Document) -> Document:
        """Return the name document, which is live again."""
        named: Document = deleted["named"]
        with self.store.transaction():
            self.store.delete(DELETED_KIND, self._id(named["name"]))
            self.store.put(NAME_KIND, self._id(named["name"]), named)
        return named

    def purge(self, name: str) -> None:
        """Remove a deleted key and its versions for good."""
        with self.store.transaction():
            self.store.delete(DELETED_KIND, self._id(name))
            for key, _ in self.store.list(VERSION_KIND, self._id(name) + "/"):
                self.store.delete(VERSION_KIND, key)

    def version_of_deleted(self, deleted: Document) -> Document:
        """Return the current version document of a deleted key. Raises 404 if a purge came between."""
        found = self.current(deleted["named"])
        if found is None:
            raise errors.deleted_key_not_found(deleted["named"]["name"])
        return found
