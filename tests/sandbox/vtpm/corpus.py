"""The differential corpus: conversations with a TPM, step by step, the same for any TPM.

Each section begins with a new TPM. What may differ between two right TPMs (keys, nonces, clocks, tickets) is masked per
step; all else in a response, its length and its return code are compared.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tests.sandbox.vtpm import raw
from tests.sandbox.vtpm.raw import command, n

Mask = Callable[[bytes], bytes]


@dataclass(frozen=True)
class Step:
    name: str
    code: int
    masked: bytes


@dataclass
class Run:
    """One TPM on which the corpus is played. `renew` makes it a new one, not started."""

    transceive: raw.Transceive
    renew: Callable[[], None]
    steps: list[Step] = field(default_factory=list)
    section: str = ""

    def begin(self, section: str) -> None:
        self.section = section
        self.renew()

    def start(self, section: str) -> None:
        self.begin(section)
        self.transceive(command(0x144, [], n(2, 0)))

    def do(self, name: str, data: bytes, mask: Mask | None = None) -> bytes:
        response = self.transceive(data)
        code = raw.code_of(response)
        masked = mask(response) if mask is not None and code == 0 else response
        self.steps.append(Step(f"{self.section}: {name}", code, masked))
        return response

    def quiet(self, data: bytes) -> bytes:
        """Do what is not compared: what only prepares a step."""
        response = self.transceive(data)
        assert raw.code_of(response) == 0, f"{self.section}: 0x{raw.code_of(response):x} for {data[:64].hex()}"
        return response


def tail_from(at: int) -> Mask:
    """Mask everything from a byte on; the length stays."""
    return lambda response: response[:at] + bytes(len(response) - at)


def span(start: int, end: int) -> Mask:
    return lambda response: response[:start] + bytes(end - start) + response[end:]


NONCE = tail_from(16)  # StartAuthSession: handle, size, nonce
ALL = tail_from(10)


def session_nonce(response: bytes) -> bytes:
    """Mask nonce and HMAC of a response that has one HMAC session and no handle."""
    size = int.from_bytes(response[10:14], "big")
    return response[: 16 + size] + bytes(len(response) - 16 - size)


def created(response: bytes) -> bytes:
    """Mask the modulus, the name and the ticket of TPM2_CreatePrimary for an RSA key without a policy."""
    out = bytearray(response)
    at = 18
    public_size = int.from_bytes(response[at : at + 2], "big")
    modulus = 2 + 256
    out[at + 2 + public_size - modulus + 2 : at + 2 + public_size] = bytes(256)
    at += 2 + public_size
    at += 2 + int.from_bytes(response[at : at + 2], "big")  # creation data
    at += 2 + int.from_bytes(response[at : at + 2], "big")  # its digest
    ticket = int.from_bytes(response[at + 6 : at + 8], "big")
    out[at + 8 : at + 8 + ticket] = bytes(ticket)
    at += 8 + ticket
    out[at + 4 : at + 36] = bytes(32)
    return bytes(out)


def read_public(response: bytes) -> bytes:
    """Mask modulus, name and qualified name of TPM2_ReadPublic."""
    size = int.from_bytes(response[10:12], "big")
    end = 12 + size
    return (
        response[: end - 256]
        + bytes(256)
        + response[end : end + 4]
        + bytes(32)
        + response[end + 36 : end + 40]
        + bytes(32)
    )


def attested(response: bytes) -> bytes:
    """Mask signer, clock, version and signature of TPM2_Quote and TPM2_Certify; for a quote all else stays."""
    out = bytearray(response)
    size = int.from_bytes(response[14:16], "big")
    kind = response[20:22]
    at = 22
    signer = int.from_bytes(response[at : at + 2], "big")
    out[at + 4 : at + 2 + signer] = bytes(max(0, signer - 2))
    at += 2 + signer
    at += 2 + int.from_bytes(response[at : at + 2], "big")
    out[at : at + 25] = bytes(25)
    at += 25
    if kind == b"\x80\x17":
        out[at + 4 : 16 + size] = bytes(16 + size - at - 4)
    signature = 16 + size + 6
    end = 14 + int.from_bytes(response[10:14], "big")
    if signature < end:
        out[signature:end] = bytes(end - signature)
    return bytes(out)


def context_head(response: bytes) -> bytes:
    """Keep handle and hierarchy of a saved context: the rest of it has no form that the TCG lays down."""
    return response[:2] + response[6:10] + response[18:26]


def signed(response: bytes) -> bytes:
    size = int.from_bytes(response[10:14], "big")
    return response[:20] + bytes(14 + size - 20) + response[14 + size :]


def play(run: Run) -> list[Step]:
    """Return every step of the corpus, played on one TPM."""
    from tests.sandbox.vtpm import corpus_keys, corpus_memory, corpus_sessions, corpus_templates

    others = (corpus_memory, corpus_sessions, corpus_templates, corpus_keys)
    for section in (*SECTIONS, *(each for module in others for each in module.SECTIONS)):
        section(run)
    names = [step.name for step in run.steps]
    twice = {name for name in names if names.count(name) > 1}
    assert not twice, twice
    return run.steps


def framing(run: Run) -> None:
    run.begin("framing")
    run.do("a command before startup", command(0x17B, [], n(2, 8)))
    run.do("capability before startup", command(0x17A, [], n(4, 6) + n(4, 0x100) + n(4, 1)))
    run.do("startup with an unknown type", command(0x144, [], n(2, 2)))
    run.do("startup(state) with no state", command(0x144, [], n(2, 1)))
    run.do("startup(clear)", command(0x144, [], n(2, 0)))
    run.do("startup twice", command(0x144, [], n(2, 0)))
    run.do("bad tag", bytes.fromhex("80030000000c0000017b0008"))
    run.do("tag of TPM 1.2", bytes.fromhex("00c10000000a00000065"))
    run.do("size too large by one", bytes.fromhex("80010000000d0000017b0008"))
    run.do("size too small by one", bytes.fromhex("80010000000b0000017b0008"))
    run.do("trailing byte", bytes.fromhex("80010000000d0000017b000800"))
    run.do("short parameter", bytes.fromhex("80010000000b0000017b00"))
    run.do("no parameter", bytes.fromhex("80010000000a0000017b"))
    run.do("unknown command", bytes.fromhex("80010000000a00000fff"))
    run.do("reserved bits in the command code", bytes.fromhex("80010000000c8000017b0008"))
    for length in (0, 1, 2, 5, 6, 9):
        run.do(f"only {length} bytes", bytes.fromhex("80010000000a0000017b")[:length])
    run.do("sessions tag without an area", bytes.fromhex("80020000000a0000017b"))
    run.do("authorisation area of 8", command(0x182, [0], b"")[:6] + b"")
    run.do("area larger than the command", bytes.fromhex("80020000001b000001820000000000000020") + raw.password()[:9])
    area = raw.password()
    run.do(
        "area shorter than its entry",
        bytes.fromhex("8002") + n(4, 10 + 4 + 4 + 9 + 4) + n(4, 0x182) + n(4, 0) + n(4, 8) + area + n(4, 0),
    )
    run.do("four authorisations", command(0x182, [0], n(4, 0), [raw.password()] * 4))
    run.do("two passwords where one is needed", command(0x182, [0], n(4, 0), [raw.password()] * 2))
    run.do("password with a nonce", command(0x182, [0], n(4, 0), [raw.PW + raw.b2(b"n") + b"\0" + raw.b2(b"")]))
    for bits in (0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80):
        auth = raw.PW + b"\0\0" + n(1, bits) + raw.b2(b"")
        run.do(f"password with attribute 0x{bits:02x}", command(0x182, [0], n(4, 0), [auth]))
    run.do("password of 65 bytes", command(0x182, [0], n(4, 0), [raw.password(bytes(65))]))
    run.do("session handle of no kind", command(0x182, [0], n(4, 0), [n(4, 0x80000000) + bytes(5)]))
    run.do("session that is not loaded", command(0x182, [0], n(4, 0), [n(4, 0x02000000) + bytes(5)]))
    run.do("policy session that is not loaded", command(0x182, [0], n(4, 0), [n(4, 0x03000001) + bytes(5)]))
    run.do("startup with a session", command(0x144, [], n(2, 0), [raw.password()]))
    run.do("random with a password for nothing", command(0x17B, [], n(2, 8), [raw.password()]))
    run.do("extend without authorisation", command(0x182, [0], n(4, 0)))


def general(run: Run) -> None:
    run.start("general")
    for size in (0, 1, 20, 64, 65, 1000):
        run.do(f"random of {size}", command(0x17B, [], n(2, size)), tail_from(12))
    run.do("stir", command(0x146, [], raw.b2(b"stirred")))
    run.do("stir with 128", command(0x146, [], raw.b2(bytes(128))))
    run.do("stir with 129", command(0x146, [], raw.b2(bytes(129))))
    run.do("self test", command(0x143, [], b"\x01"))
    run.do("self test of 2", command(0x143, [], b"\x02"))
    run.do("test result", command(0x17C), ALL)
    run.do("shutdown(clear)", command(0x145, [], n(2, 0)))
    run.do("shutdown with an unknown type", command(0x145, [], n(2, 7)))
    run.do("clock", command(0x181), ALL)
    for alg in (raw.SHA1, raw.SHA256, raw.SHA384, raw.SHA512, raw.SM3, raw.ALG_NULL, 0x27):
        run.do(f"hash with 0x{alg:x}", command(0x17D, [], raw.b2(b"data") + n(2, alg) + n(4, raw.NULL)))
    run.do(
        "hash with a ticket", command(0x17D, [], raw.b2(b"data") + n(2, raw.SHA256) + n(4, raw.OWNER)), tail_from(52)
    )
    generated = raw.b2(bytes.fromhex("ff544347") + b"data")
    run.do("hash of a forged statement", command(0x17D, [], generated + n(2, raw.SHA256) + n(4, raw.OWNER)))
    run.do("hash in no hierarchy", command(0x17D, [], raw.b2(b"d") + n(2, raw.SHA256) + n(4, raw.LOCKOUT)))
    run.do("hash of 1025 bytes", command(0x17D, [], raw.b2(bytes(1025)) + n(2, raw.SHA256) + n(4, raw.NULL)))


def capabilities(run: Run) -> None:
    run.start("capability")

    def ask(name: str, capability: int, first: int, count: int) -> None:
        run.do(name, command(0x17A, [], n(4, capability) + n(4, first) + n(4, count)))

    ask("PCR banks", 5, 0, 127)
    ask("PCR banks from 1", 5, 1, 127)
    ask("unknown", 0x0A, 0, 1)
    ask("vendor's", 0x100, 0, 1)
    ask("handles of no kind", 1, 0x05000000, 1)
    ask("transient handles, none", 1, 0x80000000, 8)
    ask("persistent handles, none", 1, 0x81000000, 8)
    ask("NV indexes, none", 1, 0x01000000, 8)
    ask("PCR handles", 1, 0, 64)
    ask("PCR handles from 20", 1, 20, 64)
    ask("loaded sessions, none", 1, 0x02000000, 8)
    ask("saved sessions, none", 1, 0x03000000, 8)
    ask("algorithm SHA-256", 0, 0x0B, 1)
    ask("algorithm RSA", 0, 0x01, 1)
    ask("algorithm OAEP", 0, 0x17, 1)
    ask("NV buffer", 6, 0x12C, 1)
    ask("transient slots", 6, 0x10E, 1)
    ask("loaded sessions that fit", 6, 0x110, 1)
    ask("PCR select bytes", 6, 0x113, 1)
    ask("permanent attributes", 6, 0x200, 1)
    ask("startup attributes", 6, 0x201, 1)
    ask("transient objects loaded", 6, 0x203, 1)
    ask("lockout counters", 6, 0x20E, 4)
    ask("beyond the last property", 6, 0x300, 4)
    ask("command NV_Read", 2, 0x14E, 1)
    ask("command CreatePrimary", 2, 0x131, 1)
    ask("command RSA_Decrypt", 2, 0x159, 1)
    ask("command PCR_Extend", 2, 0x182, 1)
    ask("command StartAuthSession", 2, 0x176, 1)
    ask("no property asked for", 6, 0x100, 0)
    for last in (0x08, 0x09, 0x0B, 0x100, 0x101):
        run.do(f"one parameter, capability 0x{last:x}", command(0x17A, [], n(4, last)))
    run.do("two parameters only", command(0x17A, [], n(4, 6) + n(4, 0x100)))


SECTIONS: tuple[Callable[[Run], None], ...] = (framing, general, capabilities)
