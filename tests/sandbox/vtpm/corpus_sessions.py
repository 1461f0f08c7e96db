"""The corpus on sessions: HMACs right and wrong, policies, exhaustion, encryption."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from tests.sandbox.vtpm import raw
from tests.sandbox.vtpm.corpus import ALL, NONCE, Run, context_head, session_nonce
from tests.sandbox.vtpm.corpus_memory import INDEX, ORDINARY, define, one, write
from tests.sandbox.vtpm.raw import AES_CFB, HmacSession, b2, command, n, password, selection, start_session

HMAC, POLICY, TRIAL = 0, 1, 3
XOR_SHA256 = bytes.fromhex("000a000b")


def begin(run: Run, kind: int, **options: bytes | int) -> HmacSession:
    response = run.quiet(start_session(kind, **options))  # type: ignore[arg-type]
    size = int.from_bytes(response[14:16], "big")
    return HmacSession(raw.handle_of(response), response[16 : 16 + size])


def flush(handle: int) -> bytes:
    return command(0x165, [], n(4, handle))


def starting(run: Run) -> None:
    run.start("session start")
    for size in (0, 15, 16, 20, 32, 33, 65):
        response = run.do(f"nonce of {size}", start_session(HMAC, nonce=bytes(size)), NONCE)
        if raw.code_of(response) == 0:
            run.quiet(flush(raw.handle_of(response)))
    for alg in (raw.SHA1, raw.SHA256, raw.SHA384, raw.SHA512, raw.SM3, raw.ALG_NULL):
        response = run.do(f"digest 0x{alg:x}", start_session(POLICY, nonce=bytes(16), alg=alg), NONCE)
        if raw.code_of(response) == 0:
            run.quiet(flush(raw.handle_of(response)))
    for kind in (2, 4, 255):
        run.do(f"type {kind}", start_session(kind))
    run.do("key that is not loaded", start_session(HMAC, key=0x80000000))
    run.do("key of another kind", start_session(HMAC, key=raw.OWNER))
    run.do("bound to what is not loaded", start_session(HMAC, bind=0x80000001))
    run.do("bound to an index that is not there", start_session(HMAC, bind=0x01500001))
    run.do("salt without a key", start_session(HMAC, salt=bytes(32)))
    run.do("unknown symmetric algorithm", start_session(HMAC, symmetric=bytes.fromhex("00ff00800043")))
    run.do("AES of 129 bits", start_session(HMAC, symmetric=bytes.fromhex("000600810043")))
    run.do("AES of 192 bits", start_session(HMAC, symmetric=bytes.fromhex("000600c00043")))
    run.do("AES in no mode", start_session(HMAC, symmetric=bytes.fromhex("000600800010")))
    first = run.do("AES", start_session(HMAC, symmetric=AES_CFB), NONCE)
    run.do("XOR", start_session(HMAC, symmetric=XOR_SHA256), NONCE)
    run.do("trial", start_session(TRIAL), NONCE)
    run.do("a fourth", start_session(POLICY), NONCE)
    run.do("loaded sessions", command(0x17A, [], n(4, 1) + n(4, 0x02000000) + n(4, 8)))
    run.do("flush one", flush(raw.handle_of(first)))
    run.do("flush it again", flush(raw.handle_of(first)))
    for handle in (0x0200003F, 0x02000040, 0x0300003F, 0x03000040, 0x03000100):
        run.do(f"flush 0x{handle:x}", flush(handle))
        run.do(f"digest of 0x{handle:x}", command(0x189, [handle]))
        run.do(f"authorise by 0x{handle:x}", command(0x182, [0], one(raw.SHA256), [n(4, handle) + bytes(5)]))
    run.do("flush an object that is not loaded", flush(0x80000000))
    run.do("flush a persistent object", flush(0x81000000))
    run.do("flush a PCR", flush(0))
    run.do("its slot is free", start_session(POLICY), NONCE)
    run.do("flush by the other kind of handle", flush(0x02000000))
    run.do("flush by the right kind", flush(0x03000000))


def hmac_sessions(run: Run) -> None:
    run.start("hmac")
    session = begin(run, HMAC)
    name = n(4, 0)
    parameters = one(raw.SHA256)

    def extend(label: str, *, good: bool = True, **options: bool | int | bytes) -> None:
        auth = session.auth(0x182, [name], parameters, **options)  # type: ignore[arg-type]
        response = run.do(label, command(0x182, [0], parameters, [auth]), session_nonce)
        if good and raw.code_of(response) == 0 and options.get("attributes", 1):
            session.check(0x182, response)

    extend("right HMAC")
    extend("right HMAC, next nonce")
    extend("wrong HMAC", spoil=True, good=False)
    extend("right after a wrong one")
    extend("HMAC with a value the PCR does not have", value=b"x", good=False)
    auth = session.auth(0x182, [name], parameters)
    run.do("HMAC over other parameters", command(0x182, [0], one(raw.SHA1), [auth]))
    run.do("HMAC over another handle", command(0x182, [1], parameters, [auth]))
    run.do("HMAC cut off", command(0x182, [0], parameters, [auth[: -32 - 2] + b2(auth[-32:-1])]))
    run.do(
        "no HMAC: the key is empty",
        command(0x182, [0], parameters, [n(4, session.handle) + b2(b"") + b"\1" + b2(b"")]),
        session_nonce,
    )
    stale = HmacSession(session.handle, bytes(32))
    run.do("stale nonce", command(0x182, [0], parameters, [stale.auth(0x182, [name], parameters)]))
    twice = n(4, session.handle) + b2(b"") + b"\1" + b2(b"")
    run.do("the same session twice", command(0x182, [0], parameters, [twice, twice]))
    run.do("the session does nothing", command(0x182, [0], parameters, [password(), twice]))
    run.do(
        "policy handle of an HMAC session",
        command(0x182, [0], parameters, [n(4, session.handle | 1 << 24) + b2(b"") + b"\1" + b2(b"")]),
    )
    run.do(
        "encrypt without an algorithm",
        command(0x17B, [], n(2, 8), [n(4, session.handle) + b2(b"") + b"\x41" + b2(b"")]),
    )
    run.do(
        "decrypt what is not sized", command(0x17B, [], n(2, 8), [n(4, session.handle) + b2(b"") + b"\x21" + b2(b"")])
    )
    run.do(
        "encrypt an answer that is not sized",
        command(0x17E, [], selection(0), [n(4, session.handle) + b2(b"") + b"\x41" + b2(b"")]),
    )
    audit = session.auth(0x17E, [], selection(0), attributes=0x81)
    run.do("audit", command(0x17E, [], selection(0), [audit]), session_nonce)
    run.quiet(flush(session.handle))
    run.do("flushed session", command(0x182, [0], parameters, [twice]))
    session = begin(run, HMAC)
    extend("last use", attributes=0)
    run.do("it is gone after its last use", flush(session.handle))


def hmac_of_values(run: Run) -> None:
    run.start("hmac value")
    run.quiet(define(ORDINARY, 16, auth=b"value"))
    run.quiet(write(bytes(16), 0))
    written = (
        b"\x00\x0b"
        + hashlib.sha256(n(4, INDEX) + n(2, raw.SHA256) + n(4, ORDINARY | 1 << 29) + b2(b"") + n(2, 16)).digest()
    )
    run.do("name of the index", command(0x169, [INDEX]))
    session = begin(run, HMAC)
    parameters = n(2, 4) + n(2, 0)

    def read(label: str, value: bytes, *, name: bytes = written, good: bool = True) -> None:
        auth = session.auth(0x14E, [name, name], parameters, value=value)
        response = run.do(label, command(0x14E, [INDEX, INDEX], parameters, [auth]), session_nonce)
        if good:
            session.check(0x14E, response, value=value)

    read("right value", b"value")
    read("wrong value", b"wrong", good=False)
    read("no value", b"", good=False)
    read("right value, wrong name", b"value", name=b"\x00\x0b" + bytes(32), good=False)
    run.quiet(flush(session.handle))
    nonce = bytes(32)
    response = run.do("bound to the index", start_session(HMAC, bind=INDEX, nonce=nonce), NONCE)
    session = HmacSession(raw.handle_of(response), response[16:48])
    session.key = raw.kdfa(b"value", b"ATH", session.nonce_tpm, nonce, 256)
    read("bound: the value is not said again", b"")
    read("bound: the value said again is wrong", b"value", good=False)
    auth = session.auth(0x182, [n(4, 0)], one(raw.SHA256))
    run.do("bound, used for another entity", command(0x182, [0], one(raw.SHA256), [auth]), session_nonce)


def policies(run: Run) -> None:
    run.start("policy")
    trial = begin(run, TRIAL)
    get = command(0x189, [trial.handle])
    run.do("digest of nothing", get)
    run.do("PCR 0-7", command(0x17F, [trial.handle], b2(b"") + selection(*range(8))))
    run.do("digest of PCR 0-7", get)
    run.do("restart", command(0x180, [trial.handle]))
    run.do("digest after restart", get)
    run.do("trial with any digest", command(0x17F, [trial.handle], b2(bytes(32)) + selection(*range(8))))
    run.do("its digest", get)
    run.do("digest of 65 bytes", command(0x17F, [trial.handle], b2(bytes(65)) + selection(0)))
    run.do("unknown bank", command(0x17F, [trial.handle], b2(b"") + selection(0, bank=raw.SM3)))
    run.do("no selection", command(0x17F, [trial.handle], b2(b"") + n(4, 0)))
    run.do("digest of no selection", get)
    run.do("command code", command(0x16C, [trial.handle], n(4, 0x148)))
    run.do("command code, another", command(0x16C, [trial.handle], n(4, 0x149)))
    run.do("command code, unknown", command(0x16C, [trial.handle], n(4, 0xFFF)))
    run.do("auth value", command(0x16B, [trial.handle]))
    run.do("password", command(0x18C, [trial.handle]))
    run.do("digest of all of it", get)
    empty = b2(b"") * 3 + n(4, 0)
    run.do("secret of the owner", command(0x151, [raw.OWNER, trial.handle], empty, [password()]))
    run.do(
        "secret with a reference",
        command(0x151, [raw.OWNER, trial.handle], b2(b"") * 2 + b2(b"ref") + n(4, 0), [password()]),
    )
    run.do("secret, wrong password", command(0x151, [raw.OWNER, trial.handle], empty, [password(b"x")]))
    run.do("digest of the secrets", get)
    run.do(
        "trial session authorises nothing",
        command(0x182, [0], one(raw.SHA256), [n(4, trial.handle) + b2(b"") + b"\1" + b2(b"")]),
    )
    run.quiet(flush(trial.handle))
    run.do("flushed policy session", get)
    hmac = begin(run, HMAC)
    run.do("PolicyPCR on an HMAC session", command(0x17F, [hmac.handle], b2(b"") + selection(0)))
    run.do("the same by a policy handle", command(0x17F, [hmac.handle | 1 << 24], b2(b"") + selection(0)))
    run.quiet(flush(hmac.handle))
    policy = begin(run, POLICY)
    zero = hashlib.sha256(bytes(32 * 8)).digest()
    run.do("right PCR digest", command(0x17F, [policy.handle], b2(zero) + selection(*range(8))))
    run.do("wrong PCR digest", command(0x17F, [policy.handle], b2(bytes(32)) + selection(*range(8))))
    run.quiet(command(0x182, [9], one(raw.SHA256), [password()]))
    run.do("PCR again after a change", command(0x17F, [policy.handle], b2(b"") + selection(*range(8))))
    run.do(
        "secret with the session's nonce, wrong",
        command(0x151, [raw.OWNER, policy.handle], b2(bytes(32)) + b2(b"") * 2 + n(4, 0), [password()]),
    )
    run.do(
        "secret with a cpHash of the wrong size",
        command(0x151, [raw.OWNER, policy.handle], b2(b"") + b2(bytes(20)) + b2(b"") + n(4, 0), [password()]),
    )
    run.do("session that is not loaded", command(0x189, [0x03000007]))
    run.do("handle of another kind", command(0x189, [0x80000000]))


def nv_policy(run: Run) -> None:
    run.start("policy on nv")
    trial = begin(run, TRIAL)
    run.quiet(command(0x16C, [trial.handle], n(4, 0x14E)))
    digest = run.quiet(command(0x189, [trial.handle]))[12:]
    run.quiet(flush(trial.handle))
    run.quiet(define(0x02000000 | 0x00080002 | 0x00020000, 8, policy=digest))  # owner writes, policy reads
    run.quiet(write(b"12345678", 0))
    policy = begin(run, POLICY)
    auth = n(4, policy.handle) + b2(b"") + b"\1" + b2(b"")
    get = command(0x14E, [INDEX, INDEX], n(2, 8) + n(2, 0), [auth])
    run.do("empty policy session", get)
    run.quiet(command(0x16C, [policy.handle], n(4, 0x14E)))
    run.do("right policy", get, session_nonce)
    run.do("the session starts again", get)
    run.quiet(command(0x16C, [policy.handle], n(4, 0x14E)))
    run.do("policy writes where it may only read", command(0x137, [INDEX, INDEX], b2(b"x") + n(2, 0), [auth]))
    run.do("value reads where only the policy may", command(0x14E, [INDEX, INDEX], n(2, 8) + n(2, 0), [password()]))
    run.do("policy for the owner, who has none", command(0x14E, [raw.OWNER, INDEX], n(2, 8) + n(2, 0), [auth]))
    run.do("policy for a PCR, which has none", command(0x182, [0], one(raw.SHA256), [auth]))


def contexts(run: Run) -> None:
    run.start("context")
    session = begin(run, POLICY)
    saved = run.do("save a session", command(0x162, [session.handle]), context_head)
    run.do("saved sessions", command(0x17A, [], n(4, 1) + n(4, 0x03000000) + n(4, 8)))
    run.do("loaded sessions", command(0x17A, [], n(4, 1) + n(4, 0x02000000) + n(4, 8)))
    run.do("save it again", command(0x162, [session.handle]))
    run.do("use it while it is out", command(0x189, [session.handle]))
    spoiled = bytearray(saved[10:])
    spoiled[-1] ^= 1
    run.do("load it spoiled", command(0x161, [], bytes(spoiled)))
    run.do("load it", command(0x161, [], saved[10:]))
    run.do("load it twice", command(0x161, [], saved[10:]))
    run.do("use it", command(0x189, [session.handle]))
    run.quiet(command(0x162, [session.handle]))
    run.do("load the older copy", command(0x161, [], saved[10:]))
    run.do("flush it while it is out", flush(session.handle))
    run.do("save an object that is not loaded", command(0x162, [0x80000000]))
    run.do("save a persistent object", command(0x162, [0x81000000]))
    run.do("load nonsense", command(0x161, [], bytes(8) + n(4, 0x80000000) + n(4, raw.OWNER) + b2(bytes(100))))
    run.do("load another kind", command(0x161, [], bytes(8) + n(4, 0x81000000) + n(4, raw.OWNER) + b2(bytes(100))))
    run.do("save with a session", command(0x162, [session.handle], b"", [password()]))


def encryption(run: Run) -> None:
    run.start("encryption")
    run.quiet(define(ORDINARY, 16, auth=b""))
    for label, symmetric in (("AES", AES_CFB), ("XOR", XOR_SHA256)):
        session = begin(run, HMAC, symmetric=symmetric)
        plain = n(2, 16)
        auth = session.auth(0x17B, [], plain, attributes=0x41)
        response = run.do(f"{label}: answer encrypted", command(0x17B, [], plain, [auth]), ALL)
        session.check(0x17B, response)
        both = session.auth(0x146, [], b2(b"stirred"), attributes=0x21)
        response = run.do(f"{label}: parameter encrypted", command(0x146, [], b2(b"stirred"), [both]), ALL)
        session.check(0x146, response)
        run.quiet(flush(session.handle))


SECTIONS: tuple[Callable[[Run], None], ...] = (
    starting,
    hmac_sessions,
    hmac_of_values,
    policies,
    nv_policy,
    contexts,
    encryption,
)
