"""What a guest does with its TPM in attestation and key release, step by step, on any transport.

Everything the TPM signs is verified with `cryptography`, everything it decrypts was encrypted with it. The same flow
runs on swtpm and on the sandbox's vTPM.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from skrkit.errors import ServiceError
from skrkit.tpm.algorithms import Alg
from skrkit.tpm.attest import parse_attest
from skrkit.tpm.client import DecryptScheme, Exchange, KeyHierarchy, Tpm, TransientKey
from skrkit.tpm.commands import AK_HANDLE, NV_USER_DATA
from skrkit.tpm.pcr import PcrSelection, pcr_digest, policy_pcr_digest
from skrkit.tpm.public import Public
from skrkit.tpm.templates import ak_template
from skrkit.tpm.transport import Transport

LINUX_PCRS = tuple(range(8))
WINDOWS_PCRS = (*range(8), 11, 12, 13, 14)
BIG_INDEX = 0x01500001  # an index of the owner's, as large as the TPM allows
SECRET = bytes(range(32))
_OAEP: dict[DecryptScheme, hashes.HashAlgorithm] = {
    "oaep-sha1": hashes.SHA1(),  # Key Vault's CKM_RSA_AES_KEY_WRAP
    "oaep-sha256": hashes.SHA256(),
    "oaep-sha384": hashes.SHA384(),
}


@dataclass
class GuestFlow:
    """One connection, and what went over it."""

    transport: Transport
    exchanges: list[Exchange] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tpm = Tpm(self.transport, on_exchange=self.exchanges.append)

    def ensure_ak(self) -> Public:
        """Return the attestation key at 0x81000003, made as Azure's HCL makes it if there is none."""
        try:
            return self.tpm.read_public(AK_HANDLE)
        except ServiceError as refused:
            if refused.code != "TPM_RC_HANDLE":
                raise
        key = self.tpm.create_primary(ak_template(), hierarchy="endorsement")
        self.tpm.evict_control(key.handle, AK_HANDLE)
        self.tpm.flush(key.handle)
        stored = self.tpm.read_public(AK_HANDLE)
        assert stored.tpmt == key.public.tpmt
        return stored

    def user_data(self, data: bytes) -> None:
        """Define, write and read the 64 bytes that go into the next report."""
        self.tpm.nv_define(NV_USER_DATA, 64)
        self.tpm.nv_write(NV_USER_DATA, data)
        public = self.tpm.nv_read_public(NV_USER_DATA)
        assert (public.nv_index, public.data_size, public.written) == (NV_USER_DATA, 64, True)
        assert public.attribute_names() == ("OWNERWRITE", "AUTHWRITE", "OWNERREAD", "AUTHREAD", "WRITTEN")
        assert self.tpm.nv_read(NV_USER_DATA) == data

    def big_index(self, size: int) -> None:
        """Write and read an index in several chunks, then remove it."""
        data = hashlib.shake_256(b"skrkit").digest(size)
        self.tpm.nv_define(BIG_INDEX, size)
        self.tpm.nv_write(BIG_INDEX, data)
        assert self.tpm.nv_read(BIG_INDEX) == data
        chunks = [e for e in self.exchanges if e.name == "TPM2_NV_Read"]
        assert max(len(e.response) for e in chunks) <= 10 + 4 + 2 + 1024 + 5
        self.tpm.nv_undefine(BIG_INDEX)
        with pytest.raises(ServiceError) as refused:
            self.tpm.nv_read(BIG_INDEX)
        assert refused.value.code == "TPM_RC_HANDLE"

    def pcrs(self) -> dict[int, bytes]:
        """Extend PCR 4 and read all 24, eight a command."""
        before = self.tpm.pcr_read([4])[4]
        self.tpm.pcr_extend(4, SECRET)
        self.exchanges.clear()
        values = self.tpm.pcr_read(range(24))
        assert list(values) == list(range(24))
        assert [e.name for e in self.exchanges] == ["TPM2_PCR_Read"] * 3
        assert values[4] == hashlib.sha256(before + SECRET).digest()
        return values

    def quote(self, ak: Public, pcrs: tuple[int, ...], nonce: bytes) -> None:
        """Quote PCRs, and verify the quote with another library."""
        attest_bytes, signature = self.tpm.quote(AK_HANDLE, pcrs, nonce)
        verify_pkcs1(ak, attest_bytes, signature)
        attest = parse_attest(attest_bytes)
        selection = PcrSelection.of(pcrs)
        assert attest.is_quote
        assert attest.extra_data == nonce
        assert attest.pcr_select == (selection,)
        assert attest.pcr_digest == pcr_digest(self.tpm.pcr_read(pcrs), selection)
        assert attest.qualified_signer == ak.qualified_name
        assert len(attest_bytes) == 113 + len(nonce)

    def ephemeral(self, ak: Public, hierarchy: KeyHierarchy, pcrs: tuple[int, ...]) -> TransientKey:
        """Make the ephemeral key, and have the attestation key certify it."""
        key = self.tpm.create_ephemeral_key(pcrs, hierarchy=hierarchy)
        selection = PcrSelection.of(pcrs)
        digest = pcr_digest(self.tpm.pcr_read(pcrs), selection)
        assert key.public.auth_policy == policy_pcr_digest(selection, digest)
        assert int(key.public.attributes) == 0x00020432
        assert self._policy_digest(pcrs) == key.public.auth_policy
        attest_bytes, signature = self.tpm.certify(key.handle, AK_HANDLE)
        verify_pkcs1(ak, attest_bytes, signature)
        attest = parse_attest(attest_bytes)
        assert attest.is_certify
        assert attest.certified_name == key.public.name()
        assert attest.certified_qualified_name == self.tpm.read_public(key.handle).qualified_name
        return key

    def _policy_digest(self, pcrs: tuple[int, ...]) -> bytes:
        session = self.tpm.start_policy_session()
        self.tpm.policy_pcr(session, pcrs)
        digest = self.tpm.policy_digest(session)
        self.tpm.flush(session)
        return digest

    def decrypt(self, key: TransientKey, pcrs: tuple[int, ...]) -> None:
        """Decrypt what another library encrypted, in every scheme; more often than the TPM has session slots."""
        public = rsa_public(key.public)
        values = self.tpm.pcr_read(pcrs)
        plaintext = self.tpm.rsa_decrypt(
            key.handle, public.encrypt(SECRET, padding.PKCS1v15()), scheme="rsaes", pcrs=pcrs
        )
        assert plaintext == SECRET
        for scheme, algorithm in _OAEP.items():
            ciphertext = public.encrypt(SECRET, padding.OAEP(padding.MGF1(algorithm), algorithm, None))
            assert self.tpm.rsa_decrypt(key.handle, ciphertext, scheme=scheme, pcrs=pcrs) == SECRET
            assert self.tpm.rsa_decrypt(key.handle, ciphertext, scheme=scheme, pcrs=values) == SECRET

    def changed_pcr(self, key: TransientKey, pcrs: tuple[int, ...]) -> None:
        """Extend a selected PCR: both ways to decrypt are refused, by name, and leave no session behind."""
        values = self.tpm.pcr_read(pcrs)
        ciphertext = rsa_public(key.public).encrypt(SECRET, padding.PKCS1v15())
        self.tpm.pcr_extend(pcrs[-1], SECRET)
        for _ in range(5):  # more than the three session slots
            with pytest.raises(ServiceError) as refused:
                self.tpm.rsa_decrypt(key.handle, ciphertext, scheme="rsaes", pcrs=values)
            assert (refused.value.what, refused.value.code) == ("TPM2_PolicyPCR", "TPM_RC_VALUE")
            assert refused.value.found == "TPM_RC_VALUE (0x1C4, parameter 1)"
            with pytest.raises(ServiceError) as refused:
                self.tpm.rsa_decrypt(key.handle, ciphertext, scheme="rsaes", pcrs=pcrs)
            assert (refused.value.what, refused.value.code) == ("TPM2_RSA_Decrypt", "TPM_RC_POLICY_FAIL")
            assert refused.value.found == "TPM_RC_POLICY_FAIL (0x99D, session 1)"
            assert "extended" in refused.value.fix

    def refusals(self) -> None:
        """Name what is not there."""
        with pytest.raises(ServiceError) as refused:
            self.tpm.nv_read(0x01400FFF)
        assert str(refused.value).startswith(
            "TPM2_NV_ReadPublic at NV index 0x01400FFF: expected TPM_RC_SUCCESS, found TPM_RC_HANDLE (0x18B, handle 1)."
        )
        with pytest.raises(ServiceError) as refused:
            self.tpm.quote(0x81000FFF, LINUX_PCRS)
        assert refused.value.where == "handle 0x81000FFF"
        assert refused.value.code == "TPM_RC_HANDLE"
        with pytest.raises(ServiceError) as refused:
            self.tpm.flush(0x80FFFFFE)
        assert refused.value.what == "TPM2_FlushContext"


def run_guest_flow(transport: Transport, *, nv_bytes: int) -> list[Exchange]:
    """Run every step on a fresh TPM whose largest NV index is `nv_bytes`; return the last step's exchanges."""
    flow = GuestFlow(transport)
    ak = flow.ensure_ak()
    flow.user_data(hashlib.sha512(b"user data").digest())
    flow.big_index(nv_bytes)
    flow.pcrs()
    flow.quote(ak, LINUX_PCRS, b"")
    flow.quote(ak, WINDOWS_PCRS, b"challenge")
    for hierarchy, pcrs in (("null", LINUX_PCRS), ("owner", WINDOWS_PCRS)):
        key = flow.ephemeral(ak, "null" if hierarchy == "null" else "owner", pcrs)
        flow.decrypt(key, pcrs)
        flow.changed_pcr(key, pcrs)
        flow.tpm.flush(key.handle)
    flow.refusals()
    assert len(flow.tpm.get_random(48)) == 48
    return flow.exchanges


def rsa_public(public: Public) -> rsa.RSAPublicKey:
    """Return the key of `cryptography` with the public area's numbers."""
    modulus, exponent = public.rsa_numbers()
    return rsa.RSAPublicNumbers(exponent, modulus).public_key()


def verify_pkcs1(ak: Public, message: bytes, signature: bytes) -> None:
    """Return nothing if the RSASSA SHA-256 signature holds; `cryptography` raises if not."""
    assert (ak.scheme, ak.scheme_hash) == (Alg.RSASSA, Alg.SHA256)
    rsa_public(ak).verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
