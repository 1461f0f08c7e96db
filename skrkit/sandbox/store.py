"""The sandbox's state: JSON documents in one SQLite file. An acknowledged write survives a killed process."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from skrkit.errors import ServiceError

SCHEMA_VERSION = 1
MAX_KEPT_BYTES, KEPT_OVERHEAD_BYTES = 8 << 20, 250  # texts of documents in memory, and what a dict takes for each
LOOKED_AT = 256  # documents that are not decoded again for each who only looks
_ABSENT = ""
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

Document = dict[str, Any]
"""A JSON object. Bytes are stored as base64 or PEM text by whoever owns the document."""


@lru_cache(maxsize=LOOKED_AT)
def _looked_at(text: str) -> Mapping[str, Any] | None:
    return None if text == _ABSENT else json.loads(text)


class Store:
    """Documents by kind and id, in one SQLite file in WAL mode. Safe for use from several threads.

    A document is always written whole. `transaction()` makes several writes one: all of them or none. What was read
    lately is kept in memory: a read of SQLite waits for the lock and for the interpreter, which with many clients is
    most of the time of a request. So one process has one store on a file.
    Raises `ServiceError` if the file cannot be opened or written (a full disk, a state of another version).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._depth = 0
        # Changed under the lock alone, read without it: an entry that is there is what was last committed.
        self._kept: dict[tuple[str, str], str] = {}
        self._kept_bytes = 0
        try:
            self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")  # enough for a killed process; a power cut may lose the last
            self._prepare()
        except sqlite3.Error as cause:
            raise self._failure("open", cause) from cause

    def _prepare(self) -> None:
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, SCHEMA_VERSION):
            raise ServiceError(
                what="sandbox state version",
                where=str(self.path),
                expected=str(SCHEMA_VERSION),
                found=str(version),
                fix="skrkit sandbox reset --yes   (this version cannot read that state)",
            )
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS documents"
            " (kind TEXT NOT NULL, id TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (kind, id)) WITHOUT ROWID"
        )
        self._db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")

    def _failure(self, verb: str, cause: sqlite3.Error) -> ServiceError:
        return ServiceError(
            what=f"sandbox state {verb}",
            where=str(self.path),
            expected="a writable SQLite file",
            found=str(cause),
            fix="skrkit sandbox reset --yes   (this file is damaged, and cannot be read)"
            if getattr(cause, "sqlite_errorcode", 0) & 0xFF in _DAMAGED
            else "Free some disk space and check the folder's permissions; nothing that was acknowledged is lost.",
            code="StateUnavailable",
        )

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make every write inside one: all of them are kept, or on an exception none. Nests."""
        with self._lock:
            outermost = self._depth == 0
            self._depth += 1
            try:
                if outermost:
                    self._run("BEGIN IMMEDIATE")
                yield
                if outermost:
                    self._run("COMMIT")
            except BaseException:
                if outermost and self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
            finally:
                self._depth -= 1

    def _run(self, sql: str, *values: str | int) -> sqlite3.Cursor:
        try:
            return self._db.execute(sql, values)
        except sqlite3.Error as cause:
            raise self._failure("read or write", cause) from cause

    def get(self, kind: str, key: str) -> Document | None:
        """Return the document, or None."""
        text = self._kept.get((kind, key))
        if text is None:
            text = self._read(kind, key)
        return None if text == _ABSENT else json.loads(text)

    def look(self, kind: str, key: str) -> Mapping[str, Any] | None:
        """Return the document to look at, never to change: the same object until it is written again."""
        text = self._kept.get((kind, key))
        if text is None:
            text = self._read(kind, key)
        return _looked_at(text)

    def get_many(self, kind: str, keys: Sequence[str]) -> dict[str, Document]:
        """Return the documents that are there, by id, in one read: for pages of lists, which are not kept in memory."""
        with self._lock:
            rows = self._run(
                f"SELECT id, body FROM documents WHERE kind=? AND id IN ({','.join('?' * len(keys))})",  # noqa: S608 - marks alone
                kind,
                *keys,
            ).fetchall()
        return {key: json.loads(body) for key, body in rows}

    def kept(self, kind: str, key: str) -> Mapping[str, Any] | None:
        """Return the document to look at if it is in memory, without waiting for anybody; None says nothing."""
        return _looked_at(self._kept.get((kind, key), _ABSENT))

    def _read(self, kind: str, key: str) -> str:
        with self._lock:
            row = self._run("SELECT body FROM documents WHERE kind=? AND id=?", kind, key).fetchone()
            text = _ABSENT if row is None else str(row[0])
            if self._depth == 0:  # inside a transaction it may be what is never committed
                self._keep((kind, key), text)
        return text

    def _keep(self, place: tuple[str, str], text: str) -> None:
        self._forget(place)
        self._kept[place] = text
        self._kept_bytes += len(text) + KEPT_OVERHEAD_BYTES
        while self._kept_bytes > MAX_KEPT_BYTES:
            self._forget(next(iter(self._kept)))

    def _forget(self, place: tuple[str, str]) -> None:
        text = self._kept.pop(place, None)
        if text is not None:
            self._kept_bytes -= len(text) + KEPT_OVERHEAD_BYTES

    def put(self, kind: str, key: str, body: Document) -> None:
        """Write the document whole, whether or not it was there."""
        text = json.dumps(body, separators=(",", ":"))
        with self._lock:
            self._forget((kind, key))
            self._run("INSERT OR REPLACE INTO documents VALUES (?,?,?)", kind, key, text)

    def delete(self, kind: str, key: str) -> bool:
        """Remove the document; return whether it was there."""
        with self._lock:
            self._forget((kind, key))
            return self._run("DELETE FROM documents WHERE kind=? AND id=?", kind, key).rowcount > 0

    def list(self, kind: str, prefix: str = "", *, after: str = "", limit: int = -1) -> list[tuple[str, Document]]:
        """Return `(id, document)` whose id starts with `prefix` and comes after `after`, in order of id.

        `limit` is the most to return; -1 is all.
        """
        # One lower bound: of two, SQLite may seek to the lesser and read all that lies between.
        bound, start = ("id>?", after) if after >= prefix and after else ("id>=?", prefix)
        with self._lock:
            rows = self._run(
                f"SELECT id, body FROM documents WHERE kind=? AND {bound} AND id<? ORDER BY id LIMIT ?",  # noqa: S608 - one of two
                kind,
                start,
                prefix + "\U0010ffff",
                limit,
            ).fetchall()
        return [(key, json.loads(body)) for key, body in rows]

    def count(self, kind: str) -> int:
        """Return how many documents of a kind there are."""
        with self._lock:
            return int(self._run("SELECT count(*) FROM documents WHERE kind=?", kind).fetchone()[0])

    def close(self) -> None:
        """Close the file. The store cannot be used afterwards."""
        with self._lock:
            self._db.close()
