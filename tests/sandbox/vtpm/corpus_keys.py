"""The corpus on keys: templates, loading, persistence, quotes, certification, decryption, signing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from tests.sandbox.vtpm import raw
from tests.sandbox.vtpm.corpus import (
    ALL,
    Run,
    attested,
    context_head,
    created,
    read_public,
    session_nonce,
    signed,
    tail_from,
)
from tests.sandbox.vtpm.corpus_memory import one
from tests.sandbox.vtpm.corpus_sessions import POLICY, TRIAL, begin, flush
from tests.sandbox.vtpm.raw import (
    AK,
    AK_ATTRIBUTES,
    DECRYPT_ATTRIBUTES,
    EPHEMERAL_ATTRIBUTES,
    NULL_ALG,
    SIGN_ATTRIBUTES,
    STORAGE,
    STORAGE_ATTRIBUTES,
    b2,
    command,
    create_primary,
    ecc_template,
    n,
    password,
    rsa_template,
    selection,
)

RSASSA = n(2, raw.RSASSA) + n(2, raw.SHA256)
AK_HANDLE = 0x81000003
PCR_POLICY = hashlib.sha256(
    bytes(32) + n(4, 0x17F) + selection(*range(8)) + hashlib.sha256(bytes(32 * 8)).digest()
).digest()
EPHEMERAL = rsa_template(EPHEMERAL_ATTRIBUTES, policy=PCR_POLICY)


def slots(run: Run) -> None:
    run.start("slots")
    responses = [
        run.do(f"primary {i}", create_primary(raw.OWNER, EPHEMERAL if i else STORAGE), created) for i in range(3)
    ]
    run.do("a fourth primary", create_primary(raw.OWNER, EPHEMERAL))
    run.do("transient handles", command(0x17A, [], n(4, 1) + n(4, 0x80000000) + n(4, 8)))
    run.do("flush the middle one", flush(0x80000001))
    run.do("its name", command(0x173, [0x80000001]))
    for handle in (0x80000003, 0x80000100, 0x80FFFFFF, 0x81000000, 0x02000000):
        run.do(f"name of 0x{handle:x}", command(0x173, [handle]))
        run.do(f"save 0x{handle:x}", command(0x162, [handle]))
        run.do(f"flush 0x{handle:x}", flush(handle))
    run.do("the slot is taken again", create_primary(raw.NULL, AK), created)
    run.do("read public", command(0x173, [0x80000001]), read_public)
    run.do("read public of a persistent handle", command(0x173, [0x81000001]))
    run.do("read public of a hierarchy", command(0x173, [raw.OWNER]))
    assert [raw.handle_of(response) for response in responses] == [0x80000000, 0x80000001, 0x80000002]
    run.do("save an object", command(0x162, [0x80000000]), context_head)
    run.do("flush all, 0", flush(0x80000000))
    run.do("flush all, 2", flush(0x80000002))


def evict(run: Run) -> None:
    run.start("evict")

    def control(name: str, key: int, to: int, by: int = raw.OWNER, given: bytes = b"") -> None:
        run.do(name, command(0x120, [by, key], n(4, to), [password(given)]))

    run.quiet(create_primary(raw.ENDORSEMENT, AK))
    control("persistent handle of another kind", 0x80000000, 0x80000001)
    control("owner, in the platform's range", 0x80000000, 0x81800000)
    control("platform, a key that is not its own", 0x80000000, 0x81800000, raw.PLATFORM)
    control("wrong password", 0x80000000, AK_HANDLE, given=b"x")
    control("by the endorsement hierarchy", 0x80000000, AK_HANDLE, raw.ENDORSEMENT)
    control("an object that is not loaded", 0x80000002, AK_HANDLE)
    control("good", 0x80000000, AK_HANDLE)
    control("the same handle again", 0x80000000, AK_HANDLE)
    run.do("read public", command(0x173, [AK_HANDLE]), read_public)
    run.do("persistent handles", command(0x17A, [], n(4, 1) + n(4, 0x81000000) + n(4, 8)))
    control("evict to another handle", AK_HANDLE, 0x81000004)
    run.quiet(create_primary(raw.NULL, EPHEMERAL))
    control("a key of the null hierarchy", 0x80000001, 0x81000004)
    run.quiet(flush(0x80000001))
    run.quiet(create_primary(raw.PLATFORM, EPHEMERAL))
    control("owner, a platform key", 0x80000001, 0x81000005)
    control("platform, below its range", 0x80000001, 0x81000005, raw.PLATFORM)
    control("platform, its key", 0x80000001, 0x81800000, raw.PLATFORM)
    control("owner evicts the platform's", 0x81800000, 0x81800000)
    control("platform evicts its own", 0x81800000, 0x81800000, raw.PLATFORM)
    run.quiet(create_primary(raw.OWNER, EPHEMERAL))
    run.do("persistent key with all slots taken", command(0x173, [AK_HANDLE]))
    run.quiet(flush(0x80000002))
    control("evict", AK_HANDLE, AK_HANDLE)
    control("evict again", AK_HANDLE, AK_HANDLE)


def attestation(run: Run) -> None:
    run.start("attest")
    run.quiet(create_primary(raw.ENDORSEMENT, AK))
    run.quiet(command(0x120, [raw.OWNER, 0x80000000], n(4, AK_HANDLE), [password()]))
    run.quiet(flush(0x80000000))
    run.quiet(create_primary(raw.OWNER, EPHEMERAL))

    def quote(
        name: str,
        *,
        key: int = AK_HANDLE,
        data: bytes = b"",
        scheme: bytes = NULL_ALG,
        pcrs: bytes = selection(*range(8)),
        given: bytes = b"",
    ) -> None:
        run.do(name, command(0x158, [key], b2(data) + scheme + pcrs, [password(given)]), attested)

    quote("quote 0-7")
    quote("quote with a nonce", data=bytes(range(32)))
    quote("quote with 67 bytes", data=bytes(67))
    quote("quote with its own scheme", scheme=RSASSA)
    quote("quote with another digest", scheme=n(2, raw.RSASSA) + n(2, raw.SHA1))
    quote("quote with another scheme", scheme=n(2, raw.RSAPSS) + n(2, raw.SHA256))
    quote("quote with a decryption scheme", scheme=n(2, raw.OAEP) + n(2, raw.SHA256))
    quote("quote with an unknown scheme", scheme=n(2, 0x99) + n(2, raw.SHA256))
    quote("quote of no PCR", pcrs=n(4, 0))
    quote("quote of an empty selection", pcrs=selection())
    quote("quote of an unknown bank", pcrs=selection(0, bank=raw.SM3))
    quote("quote of two banks", pcrs=n(4, 2) + selection(0)[4:] + selection(1, bank=raw.SHA1)[4:])
    quote("quote of all PCRs", pcrs=selection(*range(24)))
    quote("quote with a wrong password", given=b"x")
    quote("quote by a decryption key", key=0x80000000)
    quote("quote by nobody", key=raw.NULL)
    quote("quote by a hierarchy", key=raw.OWNER)
    quote("quote by a key that is not there", key=0x81000009)
    run.do("quote without authorisation", command(0x158, [AK_HANDLE], b2(b"") + NULL_ALG + selection(0)))

    def certify(
        name: str,
        key: int = 0x80000000,
        by: int = AK_HANDLE,
        *,
        auths: list[bytes] | None = None,
        scheme: bytes = NULL_ALG,
    ) -> None:
        run.do(name, command(0x148, [key, by], b2(b"") + scheme, auths or [password()] * 2), attested)

    certify("certify")
    certify("certify itself", AK_HANDLE)
    certify("certify by nobody", by=raw.NULL)
    certify("certify by a decryption key", AK_HANDLE, 0x80000000)
    certify("certify with another scheme", scheme=n(2, raw.RSAPSS) + n(2, raw.SHA256))
    certify("certify with one authorisation", auths=[password()])
    certify("certify with a wrong first password", auths=[password(b"x"), password()])
    certify("certify with a wrong second password", auths=[password(), password(b"x")])
    certify("certify a key that is not there", 0x80000001)
    run.quiet(create_primary(raw.OWNER, rsa_template(EPHEMERAL_ATTRIBUTES | 0x80, policy=PCR_POLICY)))
    certify("certify a key that leaves ADMIN to its policy", 0x80000001)
    run.do(
        "sign with a restricted key",
        command(0x15D, [AK_HANDLE], b2(bytes(32)) + NULL_ALG + n(2, 0x8024) + n(4, raw.NULL) + b2(b""), [password()]),
    )


def decryption(run: Run) -> None:
    run.start("decrypt")
    run.quiet(create_primary(raw.OWNER, EPHEMERAL))
    key = 0x80000000

    def encrypt(name: str, message: bytes, scheme: bytes, label: bytes = b"") -> bytes:
        response = run.do(f"encrypt {name}", command(0x174, [key], b2(message) + scheme + b2(label)), ALL)
        return response[12:]

    def decrypt(name: str, ciphertext: bytes, scheme: bytes, *, label: bytes = b"", pcrs: bool = True) -> None:
        session = begin(run, POLICY)
        if pcrs:
            run.quiet(command(0x17F, [session.handle], b2(b"") + selection(*range(8))))
        auth = n(4, session.handle) + b2(b"") + b"\0" + b2(b"")
        response = run.do(
            f"decrypt {name}", command(0x159, [key], b2(ciphertext) + scheme + b2(label), [auth]), session_nonce
        )
        if raw.code_of(response):
            run.quiet(flush(session.handle))

    for alg in (raw.SHA1, raw.SHA256, raw.SHA384, raw.SHA512):
        scheme = n(2, raw.OAEP) + n(2, alg)
        decrypt(f"OAEP 0x{alg:x}", encrypt(f"OAEP 0x{alg:x}", b"secret", scheme), scheme)
    scheme = n(2, raw.OAEP) + n(2, raw.SHA256)
    labelled = encrypt("with a label", b"secret", scheme, b"label\0")
    decrypt("with its label", labelled, scheme, label=b"label\0")
    decrypt("with another label", labelled, scheme, label=b"other\0")
    decrypt("with a label that does not end in zero", labelled, scheme, label=b"label")
    encrypt("with a label that does not end in zero", b"secret", scheme, b"label")
    encrypt("what is too long", bytes(191), scheme)
    rsaes = encrypt("RSAES", b"secret", n(2, raw.RSAES))
    decrypt("RSAES", rsaes, n(2, raw.RSAES))
    decrypt("RSAES as OAEP", rsaes, scheme)
    decrypt("OAEP as RSAES", labelled, n(2, raw.RSAES))
    plain = encrypt("without padding", b"\0" * 255 + b"\x05", NULL_ALG)
    decrypt("without padding", plain, NULL_ALG)
    decrypt("with a signing scheme", rsaes, RSASSA)
    decrypt("with an unknown digest", rsaes, n(2, raw.OAEP) + n(2, raw.SM3))
    decrypt("255 bytes", rsaes[:-1], n(2, raw.RSAES))
    decrypt("257 bytes", rsaes + b"\0", n(2, raw.RSAES))
    decrypt("513 bytes", bytes(513), n(2, raw.RSAES))
    decrypt("a spoiled ciphertext", rsaes[:-1] + bytes([rsaes[-1] ^ 1]), n(2, raw.RSAES))
    decrypt("without PolicyPCR", rsaes, n(2, raw.RSAES), pcrs=False)
    parameters = b2(rsaes) + n(2, raw.RSAES) + b2(b"")
    run.do("with a password", command(0x159, [key], parameters, [password()]))
    run.do("without authorisation", command(0x159, [key], parameters))
    session = begin(run, POLICY)
    run.quiet(command(0x17F, [session.handle], b2(b"") + selection(*range(8))))
    right = session.auth(0x159, [bytes(34)], parameters)
    run.do("with an HMAC that is wrong", command(0x159, [key], parameters, [right]))
    run.quiet(command(0x182, [9], one(raw.SHA256), [password()]))
    auth = n(4, session.handle) + b2(b"") + b"\0" + b2(b"")
    run.do("after another PCR changed", command(0x159, [key], parameters, [auth]))
    run.quiet(command(0x180, [session.handle]))
    run.quiet(command(0x182, [0], one(raw.SHA256), [password()]))
    run.quiet(command(0x17F, [session.handle], b2(b"") + selection(*range(8))))
    run.do("after the PCR changed", command(0x159, [key], parameters, [auth]))
    run.quiet(create_primary(raw.ENDORSEMENT, AK))
    run.do("with a signing key", command(0x159, [0x80000001], parameters, [password()]))
    run.do("encrypt to a signing key", command(0x174, [0x80000001], parameters))


def values(run: Run) -> None:
    run.start("value of a key")
    open_key = rsa_template(DECRYPT_ATTRIBUTES)
    run.quiet(create_primary(raw.OWNER, open_key, auth=b"value"))
    ciphertext = run.quiet(command(0x174, [0x80000000], b2(b"secret") + n(2, raw.RSAES) + b2(b"")))[12:]
    parameters = b2(ciphertext) + n(2, raw.RSAES) + b2(b"")
    for name, value in (("right", b"value"), ("wrong", b"wrong"), ("empty", b""), ("with zeros", b"value\0")):
        run.do(f"{name} password", command(0x159, [0x80000000], parameters, [password(value)]))
    session = begin(run, POLICY)
    auth = n(4, session.handle) + b2(b"") + b"\1" + b2(b"")
    run.do("by a policy it has not", command(0x159, [0x80000000], parameters, [auth]))
    run.quiet(flush(0x80000000))
    trial = begin(run, TRIAL)
    run.quiet(command(0x16B, [trial.handle]))
    digest = run.quiet(command(0x189, [trial.handle]))[12:]
    run.quiet(flush(trial.handle))
    run.quiet(create_primary(raw.OWNER, rsa_template(EPHEMERAL_ATTRIBUTES, policy=digest), auth=b"value"))
    public = run.quiet(command(0x173, [0x80000000]))
    at = 12 + int.from_bytes(public[10:12], "big")
    key_name = public[at + 2 : at + 36]
    ciphertext = run.quiet(command(0x174, [0x80000000], b2(b"secret") + n(2, raw.RSAES) + b2(b"")))[12:]
    parameters = b2(ciphertext) + n(2, raw.RSAES) + b2(b"")
    run.quiet(command(0x16B, [session.handle]))
    run.do("PolicyAuthValue, no HMAC", command(0x159, [0x80000000], parameters, [auth]))
    bad = session.auth(0x159, [key_name], parameters, value=b"wrong")
    run.do("PolicyAuthValue, wrong value", command(0x159, [0x80000000], parameters, [bad]))
    good = session.auth(0x159, [key_name], parameters, value=b"value")
    response = run.do("PolicyAuthValue, right value", command(0x159, [0x80000000], parameters, [good]), session_nonce)
    session.check(0x159, response, value=b"value")
    run.quiet(command(0x18C, [session.handle]))
    word = n(4, session.handle) + b2(b"") + b"\1" + b2(b"value")
    run.do("PolicyPassword", command(0x159, [0x80000000], parameters, [word]), session_nonce)
    run.quiet(command(0x18C, [session.handle]))
    wrong = n(4, session.handle) + b2(b"") + b"\1" + b2(b"wrong")
    run.do("PolicyPassword, wrong", command(0x159, [0x80000000], parameters, [wrong]))


def children(run: Run) -> None:
    run.start("child")
    run.quiet(create_primary(raw.OWNER, STORAGE))

    def create(name: str, template: bytes, parent: int = 0x80000000, *, auth: bytes = b"", data: bytes = b"") -> bytes:
        return run.do(
            name,
            command(0x153, [parent], b2(b2(auth) + b2(data)) + template + b2(b"") + n(4, 0), [password()]),
            ALL,
        )

    made = create("signing key", rsa_template(SIGN_ATTRIBUTES, scheme=RSASSA))
    create("restricted signing key", AK)
    create("decryption key with a value", rsa_template(DECRYPT_ATTRIBUTES), auth=b"value")
    create("storage key", STORAGE)
    create("storage key of AES-256", rsa_template(STORAGE_ATTRIBUTES, symmetric=bytes.fromhex("000601000043")))
    create("with data", AK, data=b"x")
    create("without sensitiveDataOrigin", rsa_template(SIGN_ATTRIBUTES & ~0x20, scheme=RSASSA))
    size = int.from_bytes(made[14:16], "big")
    private = made[14 : 16 + size]
    public = made[16 + size :]
    public = public[: 2 + int.from_bytes(public[:2], "big")]

    def load(name: str, private: bytes, public: bytes, parent: int = 0x80000000) -> bytes:
        return run.do(name, command(0x157, [parent], private + public, [password()]), tail_from(22))

    load("load", private, public)
    create("child of a signing key", AK, 0x80000001)
    load("load under a signing key", private, public, 0x80000001)
    spoiled = bytearray(private)
    spoiled[-1] ^= 1
    load("load a spoiled private area", bytes(spoiled), public)
    load("load with another public area", private, public[:-1] + bytes([public[-1] ^ 1]))
    load("load nothing", b2(b""), public)
    sign = b2(bytes(32)) + NULL_ALG + n(2, 0x8024) + n(4, raw.NULL) + b2(b"")
    response = run.do("sign", command(0x15D, [0x80000001], sign, [password()]), signed)
    signature = response[14 : 14 + int.from_bytes(response[10:14], "big")]
    run.do("sign 31 bytes", command(0x15D, [0x80000001], b2(bytes(31)) + sign[34:], [password()]))
    run.do(
        "sign with another digest",
        command(0x15D, [0x80000001], b2(bytes(20)) + n(2, raw.RSASSA) + n(2, raw.SHA1) + sign[36:], [password()]),
    )
    run.do(
        "sign with no ticket",
        command(0x15D, [0x80000001], sign[:36] + n(2, 0x8021) + n(4, raw.NULL) + b2(b""), [password()]),
    )
    run.do("verify", command(0x177, [0x80000001], b2(bytes(32)) + signature), ALL)
    run.do("verify another digest", command(0x177, [0x80000001], b2(b"x" * 32) + signature))
    run.do("verify a digest of another length", command(0x177, [0x80000001], b2(bytes(20)) + signature))
    run.do("verify with a decryption key", command(0x177, [0x80000000], b2(bytes(32)) + signature))
    external = run.do("load external, public", command(0x167, [], b2(b"") + public + n(4, raw.OWNER)), tail_from(18))
    run.do("verify by the external key", command(0x177, [raw.handle_of(external)], b2(bytes(32)) + signature), ALL)
    run.do("sign by the external key", command(0x15D, [raw.handle_of(external)], sign, [password()]))
    run.do(
        "evict the external key", command(0x120, [raw.OWNER, raw.handle_of(external)], n(4, AK_HANDLE), [password()])
    )
    run.do("a fourth object", command(0x167, [], b2(b"") + public + n(4, raw.OWNER)))
    run.quiet(flush(raw.handle_of(external)))
    for kind in (0, 1, 8, 0x23, 0x25, 0x99):
        inside = n(2, kind) + b2(b"") * 3
        run.do(f"load external, sensitive of type {kind}", command(0x167, [], b2(inside) + public + n(4, raw.NULL)))
    private_rsa = b2(n(2, 1) + b2(b"") * 3)
    run.do("load external, sensitive cut off", command(0x167, [], b2(n(2, 1) + b2(b"")) + public + n(4, raw.NULL)))
    run.do("load external, private in a hierarchy", command(0x167, [], private_rsa + public + n(4, raw.OWNER)))
    run.do(
        "load external with a short modulus",
        command(0x167, [], b2(b"") + rsa_template(SIGN_ATTRIBUTES, unique=bytes(255)) + n(4, raw.NULL)),
    )
    run.do(
        "load external with a small modulus",
        command(0x167, [], b2(b"") + rsa_template(SIGN_ATTRIBUTES, unique=bytes(256)) + n(4, raw.NULL)),
    )


def curves(run: Run) -> None:
    run.start("curve")
    scheme = n(2, raw.ECDSA) + n(2, raw.SHA256)
    run.do("P-256 signing key", create_primary(raw.OWNER, ecc_template(AK_ATTRIBUTES, scheme=scheme)), ALL)
    run.do("P-384 signing key", create_primary(raw.OWNER, ecc_template(AK_ATTRIBUTES, scheme=scheme, curve=4)), ALL)
    run.do("quote", command(0x158, [0x80000000], b2(b"") + NULL_ALG + selection(0), [password()]), ALL)
    run.do("RSA scheme", create_primary(raw.OWNER, ecc_template(AK_ATTRIBUTES, scheme=RSASSA)))
    run.do("restricted without a scheme", create_primary(raw.OWNER, ecc_template(AK_ATTRIBUTES)))
    run.do("decrypt with it", command(0x159, [0x80000000], b2(bytes(256)) + n(2, raw.RSAES) + b2(b""), [password()]))


SECTIONS: tuple[Callable[[Run], None], ...] = (
    slots,
    evict,
    attestation,
    decryption,
    values,
    children,
    curves,
)
