"""The corpus on PCRs and NV indexes."""

from __future__ import annotations

from collections.abc import Callable

from tests.sandbox.vtpm import raw
from tests.sandbox.vtpm.corpus import Run
from tests.sandbox.vtpm.raw import b2, command, n, nv_public, password, selection

DIGESTS = {raw.SHA1: 20, raw.SHA256: 32, raw.SHA384: 48, raw.SHA512: 64}


def one(alg: int, size: int | None = None) -> bytes:
    return n(4, 1) + n(2, alg) + bytes(range(1, 1 + (DIGESTS.get(alg, 32) if size is None else size)))


def pcrs(run: Run) -> None:
    run.start("pcr")
    for bank in DIGESTS:
        run.do(f"read 0-7 of bank 0x{bank:x}", command(0x17E, [], selection(*range(8), bank=bank)))
    run.do("read 16-23", command(0x17E, [], selection(*range(16, 24))))
    run.do("read all: eight come", command(0x17E, [], selection(*range(24))))
    run.do("read none", command(0x17E, [], n(4, 0)))
    run.do("read an empty selection", command(0x17E, [], selection()))
    run.do("read an unknown bank", command(0x17E, [], selection(0, bank=raw.SM3)))
    run.do("read two banks", command(0x17E, [], n(4, 2) + selection(0, 1)[4:] + selection(0, 1, bank=raw.SHA1)[4:]))
    run.do("read with five selections", command(0x17E, [], n(4, 5) + selection(0)[4:] * 5))
    for size in (0, 1, 2, 4):
        run.do(
            f"read with a bit map of {size}", command(0x17E, [], n(4, 1) + n(2, raw.SHA256) + n(1, size) + bytes(size))
        )
    for bank in DIGESTS:
        run.do(f"extend 0 in bank 0x{bank:x}", command(0x182, [0], one(bank), [password()]))
    run.do("extend in two banks", command(0x182, [1], n(4, 2) + one(raw.SHA1)[4:] + one(raw.SHA256)[4:], [password()]))
    run.do("extend in no bank", command(0x182, [1], n(4, 0), [password()]))
    run.do("extend an unknown bank", command(0x182, [1], one(raw.SM3), [password()]))
    run.do("extend with a short digest", command(0x182, [1], one(raw.SHA256, 31), [password()]))
    run.do("extend with a long digest", command(0x182, [1], one(raw.SHA256, 33), [password()]))
    run.do("extend with five digests", command(0x182, [1], n(4, 5) + one(raw.SHA1)[4:] * 5, [password()]))
    for pcr in (15, 16, 17, 18, 20, 22, 23, 24, 0x01000000, raw.NULL, raw.OWNER):
        run.do(f"extend PCR 0x{pcr:x}", command(0x182, [pcr], one(raw.SHA256), [password()]))
    run.do("extend with a wrong password", command(0x182, [1], one(raw.SHA256), [password(b"x")]))
    run.do("read 0-7 after", command(0x17E, [], selection(*range(8))))
    run.do("event in PCR 2", command(0x13C, [2], b2(b"event"), [password()]))
    run.do("event in PCR 17", command(0x13C, [17], b2(b"event"), [password()]))
    run.do("event in no PCR", command(0x13C, [raw.NULL], b2(b"event"), [password()]))
    run.do("event of 1025 bytes", command(0x13C, [2], b2(bytes(1025)), [password()]))
    for pcr in (0, 15, 16, 17, 22, 23, 24, raw.NULL):
        run.do(f"reset PCR 0x{pcr:x}", command(0x13D, [pcr], b"", [password()]))
    run.do("read 16-23 after", command(0x17E, [], selection(*range(16, 24))))
    run.do("read 2 after the event", command(0x17E, [], selection(2)))


ORDINARY = 0x00060006 | 0x02000000  # owner and own value may read and write, no dictionary-attack protection
INDEX = 0x01500001


def define(
    attributes: int,
    size: int = 32,
    *,
    index: int = INDEX,
    auth: bytes = b"",
    alg: int = raw.SHA256,
    policy: bytes = b"",
    by: int = raw.OWNER,
    given: bytes = b"",
) -> bytes:
    return command(
        0x12A, [by], b2(auth) + nv_public(index, attributes, size, alg=alg, policy=policy), [password(given)]
    )


def read(size: int, offset: int, *, by: int = raw.OWNER, index: int = INDEX, given: bytes = b"") -> bytes:
    return command(0x14E, [by, index], n(2, size) + n(2, offset), [password(given)])


def write(data: bytes, offset: int, *, by: int = raw.OWNER, index: int = INDEX, given: bytes = b"") -> bytes:
    return command(0x137, [by, index], b2(data) + n(2, offset), [password(given)])


def nv_definition(run: Run) -> None:
    run.start("nv define")
    for name, attributes in (
        ("nobody reads", 0x00000002),
        ("nobody writes", 0x00020000),
        ("already written", ORDINARY | 1 << 29),
        ("write locked", ORDINARY | 1 << 11),
        ("read locked", ORDINARY | 1 << 28),
        ("made by the platform", ORDINARY | 1 << 30),
        ("policy delete", ORDINARY | 1 << 10),
        ("reserved bit 8", ORDINARY | 1 << 8),
        ("reserved bit 20", ORDINARY | 1 << 20),
        ("unknown type 3", ORDINARY | 0x30),
        ("clear and writedefine", ORDINARY | 1 << 27 | 1 << 13),
    ):
        run.do(name, define(attributes))
    run.do("handle of another kind", define(ORDINARY, index=0x81000001))
    run.do("digest SHA-1", define(ORDINARY, alg=raw.SHA1, index=0x01500010))
    run.do("digest SHA-384", define(ORDINARY, alg=raw.SHA384, index=0x01500011))
    run.do("digest unknown", define(ORDINARY, alg=raw.SM3))
    run.do("digest null", define(ORDINARY, alg=raw.ALG_NULL))
    run.do("policy of the wrong size", define(ORDINARY, policy=bytes(20)))
    run.do("policy of the right size", define(ORDINARY, policy=bytes(32), index=0x01500012))
    run.do("value of 33 bytes", define(ORDINARY, auth=b"x" * 33))
    run.do("value of 33 bytes, the last zero", define(ORDINARY, auth=b"x" * 32 + b"\0", index=0x01500013))
    run.do("value of 65 bytes", define(ORDINARY, auth=b"x" * 65))
    run.do("2048 bytes", define(ORDINARY, 2048, index=0x01500014))
    run.do("2049 bytes", define(ORDINARY, 2049, index=0x01500015))
    run.transceive(command(0x122, [raw.OWNER, 0x01500015], b"", [password()]))  # there or not: as if it had not been
    run.do("4097 bytes", define(ORDINARY, 4097))
    run.do("2000 bytes, written at once only", define(ORDINARY | 1 << 12, 2000))
    run.do("no bytes", define(ORDINARY, 0, index=0x01500016))
    run.do("wrong owner password", define(ORDINARY, given=b"wrong"))
    run.do("by the endorsement hierarchy", define(ORDINARY, by=raw.ENDORSEMENT))
    run.do("by the platform, not its own", define(ORDINARY, by=raw.PLATFORM))
    run.do("by the platform", define(ORDINARY | 1 << 30, by=raw.PLATFORM, index=0x01500017))
    run.do("without authorisation", command(0x12A, [raw.OWNER], b2(b"") + nv_public(INDEX, ORDINARY, 32)))
    run.do("public area of no bytes", command(0x12A, [raw.OWNER], b2(b"") + b2(b""), [password()]))
    longer = nv_public(INDEX, ORDINARY, 32)
    run.do(
        "public area longer than it says",
        command(0x12A, [raw.OWNER], b2(b"") + n(2, 13) + longer[2:], [password()]),
    )
    run.do(
        "public area shorter than it says",
        command(0x12A, [raw.OWNER], b2(b"") + n(2, 15) + longer[2:], [password()]),
    )
    run.do("good", define(ORDINARY))
    run.do("the same again", define(ORDINARY))
    run.do("public area of it", command(0x169, [INDEX]))
    run.do("public area of none", command(0x169, [0x01500099]))
    run.do("public area of another kind", command(0x169, [0x81000001]))
    run.do("indexes listed", command(0x17A, [], n(4, 1) + n(4, 0x01000000) + n(4, 3)))
    run.do("indexes listed from the fourth", command(0x17A, [], n(4, 1) + n(4, 0x01500013) + n(4, 30)))
    run.do("undefine", command(0x122, [raw.OWNER, INDEX], b"", [password()]))
    run.do("undefine again", command(0x122, [raw.OWNER, INDEX], b"", [password()]))
    run.do("undefine the platform's", command(0x122, [raw.OWNER, 0x01500017], b"", [password()]))
    run.do("undefine with a wrong password", command(0x122, [raw.OWNER, 0x01500014], b"", [password(b"w")]))
    run.do("undefine as the platform", command(0x122, [raw.PLATFORM, 0x01500017], b"", [password()]))


def nv_access(run: Run) -> None:
    run.start("nv access")
    run.quiet(define(ORDINARY, 2000, auth=b"value"))
    run.do("read before the first write", read(8, 0))
    run.do("write at the front", write(b"\x01\x02\x03\x04", 0))
    run.do("public area after the first write", command(0x169, [INDEX]))
    run.do("read beyond what was written", read(8, 0))
    run.do("read the end", read(8, 1992))
    run.do("read one byte too many", read(8, 1993))
    run.do("read at the end nothing", read(0, 2000))
    run.do("read nothing", read(0, 0))
    run.do("read past the end", read(0, 2001))
    run.do("read 1024", read(1024, 0))
    run.do("read 1025", read(1025, 0))
    run.do("write 1024", write(bytes(range(256)) * 4, 0))
    run.do("write 1025", write(bytes(1025), 0))
    run.do("write up to the end", write(b"end", 1997))
    run.do("write over the end", write(b"over", 1997))
    run.do("write past the end", write(b"", 2001))
    run.do("write nothing", write(b"", 0))
    run.do("read with its own value", read(4, 0, by=INDEX, given=b"value"))
    run.do("read with its own value and zeros", read(4, 0, by=INDEX, given=b"value\0\0"))
    run.do("read with a wrong value", read(4, 0, by=INDEX, given=b"wrong"))
    run.do("read with no value", read(4, 0, by=INDEX))
    run.do("write with its own value", write(b"v", 9, by=INDEX, given=b"value"))
    run.do("read as the platform", read(4, 0, by=raw.PLATFORM))
    run.do("write as the platform", write(b"v", 0, by=raw.PLATFORM))
    run.do("read as the endorsement hierarchy", read(4, 0, by=raw.ENDORSEMENT))
    run.do("read as the null hierarchy", read(4, 0, by=raw.NULL))
    run.do("read with a wrong owner password", read(4, 0, given=b"x"))
    run.do("read an index that is not there", read(4, 0, index=0x01500002))
    run.do("read by an index that is not there", read(4, 0, by=0x01500002))
    run.do("read without authorisation", command(0x14E, [raw.OWNER, INDEX], n(2, 4) + n(2, 0)))
    run.do("one parameter only", command(0x14E, [raw.OWNER, INDEX], n(2, 4), [password()]))
    run.quiet(define(ORDINARY, 8, index=0x01500003, auth=b""))
    run.do("read by another index", read(4, 0, by=0x01500003))
    run.quiet(define(0x02000000 | 0x00020004, 8, index=0x01500004))  # owner reads, own value writes
    run.do("owner writes where only the value may", write(b"x", 0, index=0x01500004))
    run.do("value writes", write(b"x", 0, by=0x01500004, index=0x01500004))
    run.do("value reads where only the owner may", read(1, 0, by=0x01500004, index=0x01500004))
    run.quiet(define(ORDINARY | 1 << 12, 8, index=0x01500005))
    run.do("write less than all", write(b"1234567", 0, index=0x01500005))
    run.do("write all", write(b"12345678", 0, index=0x01500005))
    run.quiet(define(0x00060006, 8, index=0x01500006, auth=b"da"))  # under dictionary-attack protection
    run.do("protected value, first use", write(b"1", 0, by=0x01500006, index=0x01500006, given=b"da"))
    run.do("protected value, second use", write(b"1", 0, by=0x01500006, index=0x01500006, given=b"da"))
    for attempt in range(4):
        run.do(f"protected value, wrong {attempt}", read(1, 0, by=0x01500006, index=0x01500006, given=b"no"))
    run.do("protected value, right but locked out", read(1, 0, by=0x01500006, index=0x01500006, given=b"da"))
    run.do("the owner is not locked out", read(1, 0, index=0x01500006))
    run.do("lockout counter", command(0x17A, [], n(4, 6) + n(4, 0x20E) + n(4, 1)))
    run.do("lockout in the permanent attributes", command(0x17A, [], n(4, 6) + n(4, 0x200) + n(4, 1)))
    run.do("lockout reset, wrong", command(0x139, [raw.LOCKOUT], b"", [password(b"x")]))
    run.do("lockout reset, after a wrong one", command(0x139, [raw.LOCKOUT], b"", [password()]))


def hierarchies(run: Run) -> None:
    run.start("hierarchy")
    run.do("set the owner's value", command(0x129, [raw.OWNER], b2(b"owner"), [password()]))
    run.do("old value", define(ORDINARY))
    run.do("new value", define(ORDINARY, given=b"owner"))
    run.do("primary with the old value", raw.create_primary(raw.OWNER, raw.ecc_template(raw.SIGN_ATTRIBUTES)))
    run.do("value of 65 bytes", command(0x129, [raw.OWNER], b2(bytes(65)), [password(b"owner")]))
    run.do("value of 64 bytes", command(0x129, [raw.ENDORSEMENT], b2(b"x" * 64), [password()]))
    run.do("of the null hierarchy", command(0x129, [raw.NULL], b2(b"x"), [password()]))
    run.do("of the lockout", command(0x129, [raw.LOCKOUT], b2(b"x"), [password()]))
    run.do("lockout with its value, first use", command(0x139, [raw.LOCKOUT], b"", [password(b"x")]))
    run.do("lockout with its value", command(0x139, [raw.LOCKOUT], b"", [password(b"x")]))
    run.do("permanent attributes", command(0x17A, [], n(4, 6) + n(4, 0x200) + n(4, 1)))
    run.do("back to nothing", command(0x129, [raw.OWNER], b2(b"\0\0"), [password(b"owner\0")]))
    run.do("and nothing opens", command(0x122, [raw.OWNER, INDEX], b"", [password()]))


SECTIONS: tuple[Callable[[Run], None], ...] = (pcrs, nv_definition, nv_access, hierarchies)
