"""tpm2-pytss, the maintained binding of the TSS: the whole guest flow by ESAPI on our vTPM, over TCP."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from tests.sandbox.vtpm.conftest import HCL_REPORT, REPORT, Served

LINUX = "sha256:0,1,2,3,4,5,6,7"


@pytest.fixture
def esys(served: Served) -> Any:
    try:
        from tpm2_pytss import ESAPI  # type: ignore[import-not-found,unused-ignore]
    except (ImportError, RuntimeError) as absent:
        pytest.skip(f"NO TPM2-PYTSS ({absent}): the vTPM is not held against the TSS's ESAPI")
    with ESAPI(served.tcti) as opened:
        yield opened


def test_guest_flow(esys: Any, served: Served) -> None:
    from tpm2_pytss import (
        ESYS_TR,
        TPM2_ALG,
        TPM2_SE,
        TPM2B_PUBLIC_KEY_RSA,
        TPML_DIGEST_VALUES,
        TPMT_HA,
        TPMT_RSA_DECRYPT,
        TPMT_SIG_SCHEME,
        TPMT_SYM_DEF,
        TPMU_HA,
    )

    owner = esys.tr_from_tpmpublic(HCL_REPORT)
    report = b"".join(
        bytes(esys.nv_read(owner, min(1024, 2600 - at), at, auth_handle=ESYS_TR.OWNER)) for at in range(0, 2600, 1024)
    )
    assert report == REPORT

    ak = esys.tr_from_tpmpublic(0x81000003)
    null = TPMT_SIG_SCHEME(scheme=TPM2_ALG.NULL)
    quoted, signature = esys.quote(ak, LINUX, b"nonce", null)
    ak_key = served.vtpm.ak_public_key()
    ak_key.verify(bytes(signature.signature.rsassa.sig), bytes(quoted), padding.PKCS1v15(), hashes.SHA256())
    assert bytes(quoted)[-32:] == hashlib.sha256(bytes(32 * 8)).digest()

    def session(kind: Any) -> Any:
        opened = esys.start_auth_session(
            ESYS_TR.NONE, ESYS_TR.NONE, kind, TPMT_SYM_DEF(algorithm=TPM2_ALG.NULL), TPM2_ALG.SHA256
        )
        esys.policy_pcr(opened, b"", LINUX)
        return opened

    trial = session(TPM2_SE.TRIAL)
    digest = esys.policy_get_digest(trial)
    esys.flush_context(trial)

    key, public, *_ = esys.create_primary(None, ephemeral(bytes(digest)), ESYS_TR.NULL)
    attest, certified = esys.certify(key, ak, b"", null)
    ak_key.verify(bytes(certified.signature.rsassa.sig), bytes(attest), padding.PKCS1v15(), hashes.SHA256())
    name = bytes(public.get_name())
    assert name in bytes(attest)

    encrypting = load_pem_public_key(public.to_pem())
    assert isinstance(encrypting, rsa.RSAPublicKey)
    ciphertext = encrypting.encrypt(b"released", padding.PKCS1v15())
    policy = session(TPM2_SE.POLICY)
    scheme = TPMT_RSA_DECRYPT(scheme=TPM2_ALG.RSAES)
    plain = esys.rsa_decrypt(key, TPM2B_PUBLIC_KEY_RSA(ciphertext), scheme, session1=policy)
    assert bytes(plain) == b"released"
    esys.flush_context(policy)

    changed = TPML_DIGEST_VALUES([TPMT_HA(hashAlg=TPM2_ALG.SHA256, digest=TPMU_HA(sha256=b"\1" * 32))])
    esys.pcr_extend(ESYS_TR.PCR7, changed)
    policy = session(TPM2_SE.POLICY)
    with pytest.raises(Exception, match="policy check failed"):
        esys.rsa_decrypt(key, TPM2B_PUBLIC_KEY_RSA(ciphertext), scheme, session1=policy)
    esys.flush_context(policy)
    esys.flush_context(key)


def signing() -> Any:
    from tpm2_pytss import TPM2B_PUBLIC, TPMA_OBJECT, TPMT_PUBLIC

    return TPM2B_PUBLIC(
        TPMT_PUBLIC.parse(
            "rsa2048:rsassa-sha256:null",
            objectAttributes=TPMA_OBJECT.SIGN_ENCRYPT
            | TPMA_OBJECT.FIXEDTPM
            | TPMA_OBJECT.FIXEDPARENT
            | TPMA_OBJECT.SENSITIVEDATAORIGIN
            | TPMA_OBJECT.USERWITHAUTH,
        )
    )


def ephemeral(policy: bytes) -> Any:
    from tpm2_pytss import TPM2B_PUBLIC, TPMA_OBJECT, TPMT_PUBLIC

    return TPM2B_PUBLIC(
        TPMT_PUBLIC.parse(
            "rsa2048:null:null",
            objectAttributes=TPMA_OBJECT.DECRYPT
            | TPMA_OBJECT.FIXEDTPM
            | TPMA_OBJECT.FIXEDPARENT
            | TPMA_OBJECT.SENSITIVEDATAORIGIN
            | TPMA_OBJECT.NODA,
            nameAlg="sha256",
            authPolicy=policy,
        )
    )


@pytest.mark.parametrize("symmetric", ["null", "aes", "xor"])
def test_salted_hmac_session(esys: Any, served: Served, symmetric: str) -> None:
    """A salt under a storage key, HMACs both ways, and the first parameter encrypted where there is an algorithm."""
    from tpm2_pytss import ESYS_TR, TPM2_ALG, TPM2_SE, TPMA_SESSION, TPMT_SYM_DEF, TPMU_SYM_KEY_BITS, TPMU_SYM_MODE

    storage, *_ = esys.create_primary(None, "rsa2048")
    definition = {
        "null": TPMT_SYM_DEF(algorithm=TPM2_ALG.NULL),
        "aes": TPMT_SYM_DEF(
            algorithm=TPM2_ALG.AES, keyBits=TPMU_SYM_KEY_BITS(aes=128), mode=TPMU_SYM_MODE(aes=TPM2_ALG.CFB)
        ),
        "xor": TPMT_SYM_DEF(algorithm=TPM2_ALG.XOR, keyBits=TPMU_SYM_KEY_BITS(exclusiveOr=TPM2_ALG.SHA256)),
    }[symmetric]
    session = esys.start_auth_session(storage, ESYS_TR.NONE, TPM2_SE.HMAC, definition, TPM2_ALG.SHA256)
    attributes = TPMA_SESSION.CONTINUESESSION
    if symmetric != "null":
        attributes |= TPMA_SESSION.DECRYPT | TPMA_SESSION.ENCRYPT
    esys.trsess_set_attributes(session, attributes)
    index = esys.tr_from_tpmpublic(HCL_REPORT)
    if symmetric == "null":
        assert bytes(esys.nv_read(index, 16, 0, auth_handle=ESYS_TR.OWNER, session1=session)) == REPORT[:16]
    else:
        for authorising, coming_along in ((session, ESYS_TR.NONE), (ESYS_TR.PASSWORD, session)):
            made = esys.create_primary(None, signing(), session1=authorising, session2=coming_along)
            esys.flush_context(made[0])
    esys.flush_context(session)
    esys.flush_context(storage)


def test_bound_hmac_session(esys: Any) -> None:
    from tpm2_pytss import ESYS_TR, TPM2_ALG, TPM2_SE, TPMT_SYM_DEF

    esys.hierarchy_change_auth(ESYS_TR.OWNER, b"owner")
    esys.tr_set_auth(ESYS_TR.OWNER, b"owner")
    session = esys.start_auth_session(
        ESYS_TR.NONE, ESYS_TR.OWNER, TPM2_SE.HMAC, TPMT_SYM_DEF(algorithm=TPM2_ALG.NULL), TPM2_ALG.SHA256
    )
    index = esys.tr_from_tpmpublic(HCL_REPORT)
    for _ in range(2):
        assert bytes(esys.nv_read(index, 4, 0, auth_handle=ESYS_TR.OWNER, session1=session)) == b"HCLA"
    esys.tr_set_auth(ESYS_TR.OWNER, b"wrong")
    with pytest.raises(Exception, match="authorization failure"):
        esys.nv_read(index, 4, 0, auth_handle=ESYS_TR.OWNER)


def test_saved_contexts(esys: Any) -> None:
    from tpm2_pytss import ESYS_TR

    key, public, *_ = esys.create_primary(None, "rsa2048", ESYS_TR.OWNER)
    saved = esys.context_save(key)
    esys.flush_context(key)
    back = esys.context_load(saved)
    assert bytes(esys.read_public(back)[0].publicArea.unique.rsa) == bytes(public.publicArea.unique.rsa)
    esys.flush_context(back)


def test_child_key_loads_and_signs(esys: Any) -> None:
    from tpm2_pytss import TPM2_ALG, TPM2B_SENSITIVE_CREATE, TPMS_SENSITIVE_CREATE, TPMT_SIG_SCHEME, TPMT_TK_HASHCHECK

    parent, *_ = esys.create_primary(None, "rsa2048")
    private, public, *_ = esys.create(
        parent, TPM2B_SENSITIVE_CREATE(TPMS_SENSITIVE_CREATE(userAuth=b"secret")), signing()
    )
    child = esys.load(parent, private, public)
    esys.tr_set_auth(child, b"secret")
    value = hashlib.sha256(b"message").digest()
    ticket = TPMT_TK_HASHCHECK(tag=0x8024, hierarchy=0x40000007)
    signature = esys.sign(child, value, TPMT_SIG_SCHEME(scheme=TPM2_ALG.NULL), ticket)
    verifying = load_pem_public_key(public.to_pem())
    assert isinstance(verifying, rsa.RSAPublicKey)
    verifying.verify(bytes(signature.signature.rsassa.sig), b"message", padding.PKCS1v15(), hashes.SHA256())
    esys.flush_context(child)
    esys.flush_context(parent)
