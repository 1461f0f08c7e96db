"""The corpus on templates: which attributes, schemes and sizes go together, and which do not."""

from __future__ import annotations

from collections.abc import Callable

from tests.sandbox.vtpm import raw
from tests.sandbox.vtpm.corpus import Run, created
from tests.sandbox.vtpm.corpus_keys import EPHEMERAL, RSASSA
from tests.sandbox.vtpm.corpus_sessions import flush
from tests.sandbox.vtpm.raw import (
    AES_CFB,
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


def templates(run: Run) -> None:
    run.start("template")

    def refuse(name: str, template: bytes, hierarchy: int = raw.OWNER, **options: bytes) -> None:
        response = run.do(name, create_primary(hierarchy, template, **options), created)  # type: ignore[arg-type]
        if raw.code_of(response) == 0:
            run.quiet(flush(raw.handle_of(response)))

    refuse("fixedTPM without fixedParent", rsa_template(AK_ATTRIBUTES & ~0x10, scheme=RSASSA))
    refuse("fixedParent without fixedTPM", rsa_template(AK_ATTRIBUTES & ~0x02, scheme=RSASSA))
    refuse("neither fixed", rsa_template(AK_ATTRIBUTES & ~0x12, scheme=RSASSA))
    refuse("no sensitiveDataOrigin", rsa_template(AK_ATTRIBUTES & ~0x20, scheme=RSASSA))
    refuse("encryptedDuplication and fixedTPM", rsa_template(AK_ATTRIBUTES | 0x800, scheme=RSASSA))
    refuse("sign and decrypt, restricted", rsa_template(AK_ATTRIBUTES | 0x20000))
    refuse("sign and decrypt, with a scheme", rsa_template(SIGN_ATTRIBUTES | 0x20000, scheme=RSASSA))
    refuse("neither sign nor decrypt", rsa_template(SIGN_ATTRIBUTES & ~0x40000))
    refuse("restricted signing without a scheme", rsa_template(AK_ATTRIBUTES))
    refuse("signing with a decryption scheme", rsa_template(AK_ATTRIBUTES, scheme=n(2, raw.RSAES)))
    refuse("signing with a symmetric algorithm", rsa_template(AK_ATTRIBUTES, scheme=RSASSA, symmetric=AES_CFB))
    refuse("decryption with a signing scheme", rsa_template(DECRYPT_ATTRIBUTES, scheme=RSASSA))
    refuse("decryption with a symmetric algorithm", rsa_template(DECRYPT_ATTRIBUTES, symmetric=AES_CFB))
    refuse("storage without a symmetric algorithm", rsa_template(STORAGE_ATTRIBUTES))
    refuse("storage with a scheme", rsa_template(STORAGE_ATTRIBUTES, symmetric=AES_CFB, scheme=n(2, raw.RSAES)))
    refuse("policy of the wrong size", rsa_template(EPHEMERAL_ATTRIBUTES, policy=bytes(20)))
    refuse("policy of 65 bytes", rsa_template(EPHEMERAL_ATTRIBUTES, policy=bytes(65)))
    for bit in (0, 3, 8, 12, 15, 20, 31):
        refuse(f"reserved attribute {bit}", rsa_template(AK_ATTRIBUTES | 1 << bit, scheme=RSASSA))
    refuse("1000 bits", rsa_template(AK_ATTRIBUTES, scheme=RSASSA, bits=1000))
    refuse("exponent 3", rsa_template(AK_ATTRIBUTES, scheme=RSASSA, exponent=3))
    refuse("exponent 65537", rsa_template(AK_ATTRIBUTES, scheme=RSASSA, exponent=65537))
    refuse("name digest unknown", rsa_template(AK_ATTRIBUTES, scheme=RSASSA, name_alg=raw.SM3))
    refuse("name digest null", rsa_template(AK_ATTRIBUTES, scheme=RSASSA, name_alg=raw.ALG_NULL))
    refuse("scheme unknown", rsa_template(AK_ATTRIBUTES, scheme=n(2, 0x99) + n(2, raw.SHA256)))
    refuse("scheme with an unknown digest", rsa_template(AK_ATTRIBUTES, scheme=n(2, raw.RSASSA) + n(2, raw.SM3)))
    refuse("scheme of elliptic curves", rsa_template(AK_ATTRIBUTES, scheme=n(2, raw.ECDSA) + n(2, raw.SHA256)))
    refuse("symmetric unknown", rsa_template(STORAGE_ATTRIBUTES, symmetric=bytes.fromhex("009900800043")))
    refuse("AES of 129 bits", rsa_template(STORAGE_ATTRIBUTES, symmetric=bytes.fromhex("000600810043")))
    refuse("AES in CBC", rsa_template(STORAGE_ATTRIBUTES, symmetric=bytes.fromhex("000600800042")))
    refuse("unknown curve", ecc_template(SIGN_ATTRIBUTES, curve=0x99))
    refuse("unknown type", b2(n(2, 0x99) + n(2, raw.SHA256) + n(4, AK_ATTRIBUTES) + bytes(20)))
    refuse("empty template", b2(b""))
    refuse("template cut off", AK[:40])
    refuse("template longer than it says", n(2, len(AK) - 3) + AK[2:])
    refuse("template shorter than it says", n(2, len(AK) - 1) + AK[2:])
    refuse("unique of 385 bytes", rsa_template(AK_ATTRIBUTES, scheme=RSASSA, unique=bytes(513)))
    refuse("value of 32 bytes", EPHEMERAL, auth=b"x" * 32)
    refuse("value of 33 bytes", EPHEMERAL, auth=b"x" * 33)
    refuse("value of 65 bytes", EPHEMERAL, auth=b"x" * 65)
    refuse("sensitive data for an RSA key", EPHEMERAL, data=b"x")
    refuse("sensitive data of 128 bytes", EPHEMERAL, data=bytes(128))
    refuse("sensitive data of 129 bytes", EPHEMERAL, data=bytes(129))
    refuse("outside information", EPHEMERAL, outside=b"outside")
    refuse("outside information of 67 bytes", EPHEMERAL, outside=bytes(67))
    refuse("creation PCRs", EPHEMERAL, pcrs=selection(*range(8)))
    refuse("creation PCRs of an unknown bank", EPHEMERAL, pcrs=selection(0, bank=raw.SM3))
    refuse("in no hierarchy", EPHEMERAL, raw.LOCKOUT)
    refuse("wrong password", EPHEMERAL, auths=[password(b"x")])  # type: ignore[arg-type]
    refuse("no authorisation", EPHEMERAL, auths=[])  # type: ignore[arg-type]
    run.do(
        "sensitive longer than it says",
        command(0x131, [raw.OWNER], n(2, 3) + b2(b"") * 2 + EPHEMERAL + b2(b"") + n(4, 0), [password()]),
    )
    run.do(
        "sensitive of no bytes",
        command(0x131, [raw.OWNER], b2(b"") + EPHEMERAL + b2(b"") + n(4, 0), [password()]),
    )
    refuse("good, null hierarchy", EPHEMERAL, raw.NULL)
    refuse("good, storage", STORAGE)
    for name, parms in (
        ("RSA-2048", n(2, 1) + NULL_ALG * 2 + n(2, 2048) + n(4, 0)),
        ("RSA-1000", n(2, 1) + NULL_ALG * 2 + n(2, 1000) + n(4, 0)),
        ("unknown type", n(2, 0x99)),
    ):
        run.do(f"test parameters {name}", command(0x18A, [], parms))


SECTIONS: tuple[Callable[[Run], None], ...] = (templates,)
