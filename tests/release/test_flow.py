"""Step 4 with one fault at a time: real evidence, real cryptography, and ports whose other side lies in one thing."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding

from skrkit.artefact import Collector
from skrkit.encoding import b64url
from skrkit.errors import ParseError, ReleaseRefused, ServiceError, VerificationError
from skrkit.policy.parse import parse_policy
from skrkit.policy.templates import cvm_policy
from skrkit.release.flow import Attested, Released, Terms, attest, check_transfer_key, open_release, request_release
from skrkit.release.ports import CollectedEvidence, Issued, RsaScheme
from skrkit.release.request import Enc, ReleaseRequest
from skrkit.sandbox.bootlog import boot_event_log
from skrkit.sandbox.hcl import build_hcl_report
from skrkit.token.decode import decode_jwt
from skrkit.token.envelope import SealedEnvelope, parse_sealed_envelope
from skrkit.token.jwks import Jwks, parse_jwks
from skrkit.wire import Json
from tests.release import authority
from tests.release.authority import HOST, NOW
from tests.release.wrapping import HASHES, KEK, envelope, pkcs8, released_key
from tests.sandbox.maa.attested import Attester, make_attester, make_world
from tests.token.keys import ISSUER, claims, header, jwk, jwks, numbers, rsa_key, sign

KEY = "k"
OTHER = "https://attest-b.example"


@dataclass
class Source:
    """A confidential VM whose ephemeral key is in reach of the test."""

    vm: Attester
    asked: list[bytes] = field(default_factory=list)

    def collect(self, *, user_data: bytes) -> CollectedEvidence:
        self.asked.append(user_data)
        vm = replace(self.vm, user_data=user_data)
        quote, certify = vm.quote(), vm.certify()
        tpmt = vm.enc_public()
        return CollectedEvidence(
            hcl_report=build_hcl_report(vm.report(), vm.runtime()),
            certificates={
                "vcekCert": vm.chip.vcek_pem.decode(),
                "certificateChain": vm.world.silicon.chain_pem.decode(),
                "tcbm": "00" * 8,
            },
            ak_certificate=b"",
            ak_public=vm.ak_public(),
            pcrs=vm.pcrs(),
            quote=quote,
            quote_signature=vm.sign(quote),
            event_log=boot_event_log(secure_boot=vm.secure_boot).log,
            key_public=len(tpmt).to_bytes(2, "big") + tpmt,
            key_certify=certify,
            key_certify_signature=vm.sign(certify),
        )

    def decrypt(self, ciphertext: bytes, scheme: RsaScheme) -> bytes:
        if scheme == "rsaes":
            return self.vm.enc.decrypt(ciphertext, padding.PKCS1v15())
        algorithm = {"oaep-sha1": hashes.SHA1(), "oaep-sha256": hashes.SHA256(), "oaep-sha384": hashes.SHA384()}[scheme]
        return self.vm.enc.decrypt(ciphertext, padding.OAEP(padding.MGF1(algorithm), algorithm, None))


@dataclass
class Provider:
    """An attestation provider. `lie` replaces claims; `key` signs; `open_token` is the platform path."""

    vm: Attester
    issuer: str = ISSUER
    key: str = "maa"
    open_token: bool = False
    lie: Mapping[str, Any] = field(default_factory=dict)
    keys: tuple[str, ...] = ("maa",)

    def attest(self, evidence: CollectedEvidence, *, nonce: str) -> Issued:
        body = self.claims(nonce) | dict(self.lie)
        token = sign(header(), body, rsa_key(self.key))
        if self.open_token:
            return Issued(request={}, token=decode_jwt(token))
        return Issued(request={}, envelope=self.sealed(token))

    def claims(self, nonce: str) -> dict[str, Any]:
        if self.open_token:
            return claims(nonce=nonce)
        runtime = {
            "client-payload": {"nonce": base64.b64encode(nonce.encode()).decode()},
            "keys": [{"kid": "TpmEphemeralEncryptionKey", "kty": "RSA", **numbers(self.vm.enc)}],
        }
        tee = {"x-ms-attestation-type": "sevsnpvm", "x-ms-compliance-status": "azure-compliant-cvm"}
        return claims(**{"x-ms-runtime": runtime, "x-ms-isolation-tee": tee})

    def sealed(self, token: bytes) -> SealedEnvelope:
        both = AESGCM(KEK).encrypt(bytes(12), token, b"Transport Key")
        parameters = {"BlockMode": "ChainingModeGCM", "BlockPadding": "PKCS7", "Cipher": "AES", "KeySizeInBits": 256}
        document = {
            "EncryptedInnerKey": _b64(self.vm.enc.public_key().encrypt(KEK, padding.PKCS1v15())),
            "EncryptionParams": {**parameters, "Iv": _b64(bytes(12))},
            "AuthenticationData": _b64(both[-16:]),
            "Jwt": _b64(both[:-16]),
        }
        return parse_sealed_envelope(json.dumps({"token": b64url(json.dumps(document).encode())}))

    def signing_keys(self, *, fresh: bool = False) -> Jwks:
        return parse_jwks(jwks(*(jwk(rsa_key(name)) for name in self.keys)))


@dataclass
class Vault:
    """A vault that releases `released` to the ephemeral key, or to `wrap_for`, under the name `kid`."""

    vm: Attester
    refuses: ReleaseRefused | None = None
    kid: str = "TpmEphemeralEncryptionKey"
    wrap_for: rsa.RSAPrivateKey | None = None
    material: bytes = b""
    nonce: str | None = None
    shows: str = "released"
    asked: list[ReleaseRequest] = field(default_factory=list)

    def release(self, key: str, version: str, request: ReleaseRequest) -> bytes:
        self.asked.append(request)
        if self.refuses is not None:
            raise self.refuses
        enc = request.enc.value
        algorithm = HASHES[enc]
        oaep = padding.OAEP(padding.MGF1(algorithm), algorithm, None)
        wrapped = (self.wrap_for or self.vm.enc).public_key().encrypt(KEK, oaep)
        inner = aes_key_wrap_with_padding(KEK, self.material or pkcs8(released_key()))
        content = envelope(wrapped + inner, enc)
        content["header"]["kid"] = self.kid
        key_hsm = b64url(json.dumps(content).encode())
        return authority.made(enc=enc, key_hsm=key_hsm, nonce=self.nonce or request.nonce)

    def public_key(self, key: str, version: str) -> Mapping[str, Json] | None:
        return {"kid": f"{authority.KID}/{authority.VERSION}", "kty": "RSA-HSM", **numbers(rsa_key(self.shows))}


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.fixture(scope="module")
def vm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attester]:
    world = make_world(tmp_path_factory.mktemp("flow"))
    yield make_attester(world)
    world.store.close()


@pytest.fixture(scope="module")
def good(vm: Attester) -> Attested:
    return attested(vm, Provider(vm))


def attested(vm: Attester, provider: Provider, made: Collector | None = None, nonce: str = "our nonce") -> Attested:
    roots = vm.world.silicon.roots()
    return attest(Source(vm), provider, nonce=nonce, amd_roots=roots, now=NOW, made=made or Collector(4))


def terms(enc: Enc = Enc.RSA_AES_KEY_WRAP_256, **changes: Any) -> Terms:
    base = Terms(
        key=KEY, version="", policy=cvm_policy(ISSUER), enc=enc, nonce="n", host=HOST, roots=[authority.root()], now=NOW
    )
    return replace(base, **changes)


def released(vm: Attester, vault: Vault, good: Attested, made: Collector | None = None, **changes: Any) -> Released:
    wanted = terms(**changes)
    answer = request_release(vault, good.token, wanted, made=made)
    return open_release(Source(vm), vault, answer, wanted, made=made)


@pytest.mark.parametrize("enc", list(Enc))
def test_a_release_ends_with_the_key_and_its_proof(vm: Attester, good: Attested, enc: Enc) -> None:
    done = released(vm, Vault(vm), good, enc=enc)
    assert done.key.private_key is not None
    assert done.key.public_key == released_key().public_key()
    assert done.proof.operation.startswith("RSA-OAEP-256")
    assert str(done.key.material) not in repr(done)


@dataclass
class Rotated(Provider):
    """A provider whose keys were rotated after they were first fetched: what is known has another kid."""

    fetched: int = 0

    def signing_keys(self, *, fresh: bool = False) -> Jwks:
        self.fetched += fresh
        stale = {**jwk(rsa_key("maa")), "kid": "of before"}
        return super().signing_keys() if fresh else parse_jwks(jwks(stale))


def test_a_kid_that_is_not_known_is_looked_up_once_more_at_the_provider(vm: Attester) -> None:
    provider = Rotated(vm)
    assert attested(vm, provider).token.issuer == ISSUER
    assert provider.fetched == 1


def test_the_evidence_holds_against_the_roots_of_its_world(vm: Attester, good: Attested) -> None:
    assert good.local.verdict == "verified", [step for step in good.local.steps if step.verdict == "failed"]
    assert good.local.root == "sandbox"


def test_the_nonce_goes_under_the_hardware_s_signature_as_its_sha_512(vm: Attester) -> None:
    source = Source(vm)
    attest(source, Provider(vm), nonce="abc", amd_roots=vm.world.silicon.roots(), now=NOW, made=Collector(4))
    abc = (  # FIPS 180-4, the example of SHA-512
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
        "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
    )
    assert [data.hex() for data in source.asked] == [abc]


def _runtime(vm: Attester, **changes: Any) -> dict[str, Any]:
    return {"x-ms-runtime": {**Provider(vm).claims("our nonce")["x-ms-runtime"], **changes}}


def _faults(vm: Attester) -> dict[str, tuple[Provider, str, str, str, str]]:
    """Name: (provider, step, where, expected, found); texts are parts of the error's."""
    ours, plain = repr(_b64(b"our nonce")), repr("our nonce")
    theirs = {"client-payload": {"nonce": _b64(b"another")}}
    other_key = {"kid": "TpmEphemeralEncryptionKey", "kty": "RSA", **numbers(rsa_key("another vTPM"))}
    ek = {**other_key, "kid": "HCLEkPub"}
    nonce, kid = "/x-ms-runtime/client-payload/nonce", "/x-ms-runtime/keys/0/kid"
    ephemeral = "'TpmEphemeralEncryptionKey'"
    step, key_step = "token.nonce", "token.transfer_key"
    return {
        "wrong nonce": (Provider(vm, lie=_runtime(vm, **theirs)), step, nonce, ours, repr(_b64(b"another"))),
        "no payload": (Provider(vm, lie=_runtime(vm, **{"client-payload": None})), step, nonce, ours, "nothing"),
        "plain nonce": (
            Provider(vm, lie=_runtime(vm, **{"client-payload": {"nonce": "our nonce"}})), step, nonce, ours, plain,
        ),
        "no runtime": (Provider(vm, lie={"x-ms-runtime": []}), step, nonce, ours, "nothing"),
        "platform nonce": (Provider(vm, open_token=True, lie={"nonce": "x"}), step, "/nonce", plain, "'x'"),
        "another vTPM": (
            Provider(vm, lie=_runtime(vm, keys=[other_key])), key_step, "/x-ms-runtime/keys/0/n",
            "the modulus of the key certified in this vTPM", "another modulus",
        ),
        "another first key": (Provider(vm, lie=_runtime(vm, keys=[ek])), key_step, kid, ephemeral, "'HCLEkPub'"),
        "no keys": (Provider(vm, lie=_runtime(vm, keys=[])), key_step, kid, ephemeral, "nothing"),
        "keys of no list": (Provider(vm, lie=_runtime(vm, keys={"0": 1})), key_step, kid, ephemeral, "nothing"),
        "another authority": (Provider(vm, lie={"iss": OTHER}), "token.issuer", "iss", ISSUER, OTHER),
        "another signer": (Provider(vm, key="stranger"), "token.signature", "part 3", "RS256", ""),
        "expired": (
            Provider(vm, lie={"exp": int((NOW - timedelta(minutes=6)).timestamp()), "iat": 1, "nbf": 1}),
            "token.times", "", "", "",
        ),
    }  # fmt: skip


FAULTS = (
    "wrong nonce", "no payload", "plain nonce", "no runtime", "platform nonce", "another vTPM", "another first key",
    "no keys", "keys of no list", "another authority", "another signer", "expired",
)  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_token_that_answers_another_question_is_refused_by_its_step(vm: Attester, fault: str) -> None:
    provider, step, where, expected, found = _faults(vm)[fault]
    made = Collector(4)
    with pytest.raises(VerificationError) as caught:
        attested(vm, provider, made)
    error = caught.value
    assert error.step == step
    assert where in error.where
    assert expected in error.expected
    assert found in error.found
    assert "maa-token" not in [artefact.name for artefact in made.made]  # nothing unverified is shown as verified


def test_the_names_of_the_faults_are_all_tried(vm: Attester) -> None:
    assert tuple(_faults(vm)) == FAULTS


@dataclass
class Stale(Source):
    """A VM whose report is one of before."""

    def collect(self, *, user_data: bytes) -> CollectedEvidence:
        fresh, before = super().collect(user_data=user_data), super().collect(user_data=b"before")
        return replace(fresh, hcl_report=before.hcl_report)


def test_a_report_of_before_is_refused_before_the_provider_is_asked(vm: Attester) -> None:
    provider, made = Provider(vm), Collector(4)
    provider.attest = None  # type: ignore[assignment,method-assign]
    with pytest.raises(VerificationError) as caught:
        attest(Stale(vm), provider, nonce="abc", amd_roots=vm.world.silicon.roots(), now=NOW, made=made)
    error = caught.value
    assert (error.step, error.what) == ("hcl.user_data", "user data of the HCL report")
    assert error.where == "runtime claims /user-data"
    assert error.expected.startswith("ddaf35a193617aba")  # SHA-512 of abc
    assert error.found == b"before".hex() + "00" * 58


@dataclass
class Refusing(Source):
    """A VM whose vTPM refuses to decrypt, with this code."""

    code: str = ""

    def decrypt(self, ciphertext: bytes, scheme: RsaScheme) -> bytes:
        raise ServiceError(
            what="TPM2_RSA_Decrypt", where="handle 0x80000000", expected="TPM_RC_SUCCESS", found=self.code, fix="Look.",
            code=self.code,
        )  # fmt: skip


@pytest.mark.parametrize("code", ["TPM_RC_FAILURE", "TPM_RC_VALUE"])
def test_what_the_vtpm_cannot_open_is_named_by_what_it_was(vm: Attester, good: Attested, code: str) -> None:
    source = Refusing(vm, code=code)
    with pytest.raises(VerificationError) as caught:
        attest(source, Provider(vm), nonce="n", amd_roots=vm.world.silicon.roots(), now=NOW, made=Collector(4))
    assert (caught.value.step, caught.value.where) == ("envelope.inner_key", "/EncryptedInnerKey")
    assert caught.value.found == f"one that the vTPM does not decrypt: TPM2_RSA_Decrypt answers {code}"
    vault, wanted = Vault(vm), terms()
    answer = request_release(vault, good.token, wanted)
    with pytest.raises(VerificationError) as caught:
        open_release(source, vault, answer, wanted)
    assert (caught.value.step, caught.value.where) == ("release.kek", "/ciphertext, the first part")


def test_another_refusal_of_the_vtpm_stays_its_own(vm: Attester) -> None:
    source = Refusing(vm, code="TPM_RC_PCR_CHANGED")
    with pytest.raises(ServiceError) as caught:
        attest(source, Provider(vm), nonce="n", amd_roots=vm.world.silicon.roots(), now=NOW, made=Collector(4))
    assert caught.value.code == "TPM_RC_PCR_CHANGED"


def test_an_envelope_for_another_vtpm_does_not_open(vm: Attester) -> None:
    stranger = replace(vm, enc=rsa_key("another vTPM"))
    with pytest.raises((VerificationError, ValueError)):  # OpenSSL's implicit rejection gives noise, or refuses
        attested(vm, Provider(stranger))


def test_a_transfer_key_whose_n_is_no_base64_is_named(vm: Attester, good: Attested) -> None:
    odd = {"kid": "TpmEphemeralEncryptionKey", "kty": "RSA", "n": "!", "e": "AQAB"}
    with pytest.raises(ParseError) as caught:
        attested(vm, Provider(vm, lie=_runtime(vm, keys=[odd])))
    assert "/x-ms-runtime/keys/0/n" in str(caught.value)
    check_transfer_key(good.token, good.evidence.key_public)


def test_a_key_wrapped_for_another_key_is_refused_before_the_vtpm_is_asked(vm: Attester, good: Attested) -> None:
    with pytest.raises(VerificationError) as caught:
        released(vm, Vault(vm, kid="HCLEkPub", wrap_for=vm.ek), good)
    error = caught.value
    assert (error.step, error.where) == ("release.transfer_key", "/header/kid")
    assert (error.expected, error.found) == ("TpmEphemeralEncryptionKey", "HCLEkPub")


def test_an_answer_to_another_nonce_is_refused(vm: Attester, good: Attested) -> None:
    with pytest.raises(VerificationError) as caught:
        released(vm, Vault(vm, nonce="old"), good)
    assert (caught.value.step, caught.value.expected, caught.value.found) == ("release.nonce", "'n'", "'old'")


def test_an_answer_of_another_vault_is_refused(vm: Attester, good: Attested) -> None:
    with pytest.raises(VerificationError) as caught:
        released(vm, Vault(vm), good, host="othervault.vault.azure.net")
    assert caught.value.step == "release.kid"
    assert "https://othervault.vault.azure.net/keys/" in caught.value.expected
    assert HOST in caught.value.found


def test_another_private_key_than_the_vault_s_is_refused(vm: Attester, good: Attested) -> None:
    with pytest.raises(VerificationError) as caught:
        released(vm, Vault(vm, material=pkcs8(rsa_key("swapped"))), good)
    assert caught.value.step == "release.public_key"


def test_another_public_key_than_the_released_one_is_refused(vm: Attester, good: Attested) -> None:
    with pytest.raises(VerificationError) as caught:
        released(vm, Vault(vm, shows="swapped"), good)
    assert caught.value.step == "release.public_key"


def _refused() -> ReleaseRefused:
    return ReleaseRefused(
        what="release of key k",
        where=f"POST https://{HOST}/keys/k/release",
        expected="the key",
        found="HTTP 403 Forbidden/AccessDenied: Target environment attestation does not meet key release policy "
        "requirements.",
        fix="Compare.",
        source="Key Vault: release",
    )


def policy(claim: str, value: str, name: str = ISSUER) -> Any:
    clause = {"authority": name, "allOf": [{"claim": claim, "equals": value}]}
    return parse_policy(json.dumps({"version": "1.0.0", "anyOf": [clause]}))


def test_a_refusal_says_which_clause_failed_and_swaps_nothing(vm: Attester, good: Attested) -> None:
    wanted = terms(policy=policy("x-ms-isolation-tee.x-ms-attestation-type", "tdxvm"))
    with pytest.raises(ReleaseRefused) as caught:
        request_release(Vault(vm, refuses=_refused()), good.token, wanted)
    error = caught.value
    assert (error.what, error.expected, error.found) == (_refused().what, "the key", _refused().found)
    assert "x-ms-isolation-tee.x-ms-attestation-type must be 'tdxvm', found 'sevsnpvm'" in error.fix
    assert error.fix.startswith("Compare. Locally the policy says no as well: ")


def test_a_refusal_of_an_absent_claim_says_so(vm: Attester, good: Attested) -> None:
    with pytest.raises(ReleaseRefused) as caught:
        request_release(
            Vault(vm, refuses=_refused()),
            good.token,
            terms(policy=policy("x-ms-compliance-status", "azure-compliant-cvm")),
        )
    assert "x-ms-compliance-status: " in caught.value.fix
    assert "x-ms-isolation-tee.x-ms-compliance-status" in caught.value.fix  # where it stands instead


def test_a_refusal_by_another_authority_names_it(vm: Attester, good: Attested) -> None:
    with pytest.raises(ReleaseRefused) as caught:
        request_release(
            Vault(vm, refuses=_refused()), good.token, terms(policy=policy("x-ms-attestation-type", "x", OTHER))
        )
    assert OTHER in caught.value.fix


def test_a_refusal_that_the_policy_does_not_explain_says_that_too(vm: Attester, good: Attested) -> None:
    with pytest.raises(ReleaseRefused) as caught:
        request_release(Vault(vm, refuses=_refused()), good.token, terms())
    assert "Locally the policy holds" in caught.value.fix


def test_a_refusal_for_another_reason_is_not_explained_by_the_policy(vm: Attester, good: Attested) -> None:
    disabled = replace(_refused(), found="HTTP 403 Forbidden/KeyDisabled: Operation release is not allowed.")
    with pytest.raises(ReleaseRefused) as caught:
        request_release(Vault(vm, refuses=disabled), good.token, terms())
    assert caught.value.fix == "Compare."


def test_the_artefacts_of_a_release_hold_neither_key_nor_token(vm: Attester) -> None:
    made = Collector(4)
    good = attested(vm, Provider(vm), made)
    done = released(vm, Vault(vm), good, made)
    names = [artefact.name for artefact in made.made]
    assert len(names) == len(set(names))
    shown = json.dumps([artefact.to_json() for artefact in made.made]) + repr(made.made)
    private = done.key.material
    for secret in (private.hex(), _b64(private), b64url(private), good.token.raw.decode(), KEK.hex(), b64url(KEK)):
        assert secret not in shown
    assert str(released_key().private_numbers().d) not in shown


def test_a_vault_that_may_not_be_read_is_compared_by_its_signed_answer(vm: Attester, good: Attested) -> None:
    class Unread(Vault):
        def public_key(self, key: str, version: str) -> None:
            return None

    made = Collector(4)
    assert released(vm, Unread(vm), good, made).proof.message_bytes == 32
    shown = next(artefact.body for artefact in made.made if artefact.name == "released-key")
    assert isinstance(shown, dict)
    assert shown["compared_with"] == "the bundle in the signed response"
