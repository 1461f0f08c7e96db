"""The store, and what of it is kept in memory: never what was not committed, never more than its bound."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from skrkit.sandbox import store as stores
from skrkit.sandbox.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path / "s.db")
    yield made
    made.close()


def on_disk(store: Store, key: str) -> str | None:
    """What another reader of the file sees: Python's own sqlite3."""
    with sqlite3.connect(store.path) as other:
        row = other.execute("SELECT body FROM documents WHERE kind='k' AND id=?", (key,)).fetchone()
    other.close()
    return None if row is None else str(row[0])


def test_a_document_is_what_was_last_written(store: Store) -> None:
    assert store.get("k", "a") is None
    for value in (1, 2):
        store.put("k", "a", {"v": value})
        assert store.get("k", "a") == store.kept("k", "a") == {"v": value}
        assert on_disk(store, "a") == f'{{"v":{value}}}'
    assert store.delete("k", "a")
    assert store.get("k", "a") is None
    assert store.count("k") == 0


def test_who_changes_a_document_changes_no_other_ones(store: Store) -> None:
    store.put("k", "a", {"list": [1]})
    first = store.get("k", "a")
    assert first is not None
    first["list"].append(2)
    assert store.get("k", "a") == {"list": [1]}


def test_a_transaction_that_failed_leaves_nothing_in_memory(store: Store) -> None:
    store.put("k", "a", {"v": 1})
    assert store.get("k", "a") == {"v": 1}

    def fail() -> None:
        with store.transaction():
            store.put("k", "a", {"v": 2})
            store.put("k", "b", {"v": 2})
            assert store.get("k", "a") == store.get("k", "b") == {"v": 2}  # its own writes
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert store.get("k", "a") == {"v": 1}
    assert store.get("k", "b") is None


def test_nobody_else_reads_what_is_not_committed(store: Store) -> None:
    store.put("k", "a", {"v": 1})
    written, read = threading.Event(), threading.Event()
    seen: list[object] = []

    def other() -> None:
        written.wait(5)
        seen.append(store.get("k", "a"))  # waits for the transaction's end
        read.set()

    reader = threading.Thread(target=other)
    reader.start()
    with store.transaction():
        store.put("k", "a", {"v": 2})
        store.get("k", "a")
        written.set()
        assert not read.wait(0.2)
    reader.join()
    assert seen == [{"v": 2}]


def test_what_is_kept_has_a_bound(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "MAX_KEPT_BYTES", 20_000)
    for number in range(100):
        store.put("k", str(number), {"v": "x" * 900})
        store.get("k", str(number))
    kept = [number for number in range(100) if store.kept("k", str(number)) is not None]
    assert kept == list(range(100 - len(kept), 100))
    assert 10 <= len(kept) <= 22
    assert store.get("k", "0") == {"v": "x" * 900}


def test_writers_and_readers_at_once_agree(store: Store) -> None:
    """Each counter is raised by one thread at a time; a reader never sees it fall."""
    stop, fell = threading.Event(), []
    lock = threading.Lock()

    def write() -> None:
        for _ in range(300):
            with lock, store.transaction():
                before = store.get("k", "n") or {"n": 0}
                store.put("k", "n", {"n": before["n"] + 1})

    def read() -> None:
        last = 0
        while not stop.is_set():
            now = (store.get("k", "n") or {"n": 0})["n"]
            if now < last:
                fell.append((last, now))
            last = now

    readers = [threading.Thread(target=read) for _ in range(3)]
    writers = [threading.Thread(target=write) for _ in range(3)]
    for thread in (*readers, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    stop.set()
    for thread in readers:
        thread.join()
    assert fell == []
    assert store.get("k", "n") == {"n": 900}


def test_a_list_goes_by_id_within_its_prefix(store: Store) -> None:
    for key in ("a/1", "a/2", "a/3", "b/1"):
        store.put("k", key, {})
    assert [key for key, _ in store.list("k", "a/")] == ["a/1", "a/2", "a/3"]
    assert [key for key, _ in store.list("k", "a/", after="a/1")] == ["a/2", "a/3"]
    assert [key for key, _ in store.list("k", "a/", after="a/1", limit=1)] == ["a/2"]
    assert [key for key, _ in store.list("k", "b/", after="a/1")] == ["b/1"]
    assert store.list("k", "a/", after="b/0") == []
    assert store.get_many("k", ["b/1", "none"]) == {"b/1": {}}
