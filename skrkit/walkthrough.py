"""The four steps, end to end, on one stage. The command line and the notebooks only show what this makes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

from skrkit.artefact import STEP_TITLES, Artefact, Collector, Show
from skrkit.errors import ReleaseRefused
from skrkit.provision import access, identity, key
from skrkit.provision.stage import Stage, set_stage

if TYPE_CHECKING:
    from skrkit.cloud import Cloud, IdentityChoice
    from skrkit.provision.access import Access
    from skrkit.provision.identity import Identity
    from skrkit.provision.key import KeyType, ReleasableKey
    from skrkit.release.flow import Attested, Released, Terms
    from skrkit.release.ports import KeyVault, TokenIssuer
    from skrkit.release.request import Enc
    from skrkit.services.attester import Attester
    from skrkit.services.vault import Vault
    from skrkit.token.verify import VerifiedToken
    from skrkit.wire import Json

Doing: TypeAlias = Callable[[str], AbstractContextManager[object]]
"""What says that something takes time: called with a sentence, entered while it lasts."""

Remote: TypeAlias = Callable[["Walk", "IdentityChoice | None"], "Iterable[Artefact]"]
"""What has the VM take step 4, where that is not this machine: gives the artefacts that come back from there."""

ALL_STEPS = (1, 2, 3, 4)
_SYMMETRIC = ("Not checked here: whether they are the HSM's.", "The HSM sealed a message, and they opened it.")


@dataclass(slots=True, kw_only=True)
class Walk:
    """One walk through the steps. What an earlier step made is kept here for the later ones.

    `show` gets each artefact of the steps in `steps`; what an unasked step had to make is made in silence. `stagehand`
    is who sets the stage in the sandbox, where that is not who walks. With `remote` step 4 is taken in the VM, from
    outside; without it, this machine must be that VM in Azure.
    """

    cloud: Cloud
    stage: Stage
    steps: Collection[int] = ALL_STEPS
    show: Show | None = None
    doing: Doing = lambda _what: nullcontext()
    stagehand: Cloud | None = None
    remote: Remote | None = None
    artefacts: list[Artefact] = field(default_factory=list)
    identity: Identity | None = None
    access: Access | None = None
    keys: Sequence[ReleasableKey] = ()
    attested: Attested | None = None
    released: Released | None = None

    def run(self) -> list[Artefact]:
        """Return the artefacts of the steps that were asked for, in the order they were made.

        Raises what a step raises: the six errors, each naming its request or its check.
        """
        self.cloud.endpoints.check_attestation(self.stage.attestation)
        if self.cloud.world == "sandbox":
            with self.doing("Setting the stage: resource group, vault, confidential VM"):
                set_stage(self.stagehand or self.cloud, self.stage)
        elif 4 in self.steps:  # before anything is changed
            if self.remote is None:
                self._check_inside()
            if tuple(self.steps) == (4,):
                self._step_four(self._known_keys, reads=False)  # the VM's identity may release and no more
                return self.artefacts
        self._identity()
        last = max(self.steps)
        if last >= 3:
            keys = self.keys = self._keys()
            if last >= 4:
                self._step_four(lambda: keys, reads=True)
        return self.artefacts

    def run_inside(self, choice: IdentityChoice | None) -> list[Artefact]:
        """Return the artefacts of step 4, taken by the VM that this machine is, with the keys that are there.

        `choice` is the identity to ask IMDS for. The token that it gives is shown where step 1 is asked for.
        """
        self.identity = identity.Identity(object_id="", tenant_id="", artefacts=(), choice=choice)
        if self.cloud.world == "azure":
            self._check_inside()
        else:
            inside = self._inside(choice)
            identity.request_token(inside, self.stage.token_resource(self.cloud), show=self._shown(1))
        self._release(self._known_keys(), reads=False)
        return self.artefacts

    def _step_four(self, keys: Callable[[], Sequence[ReleasableKey]], *, reads: bool) -> None:
        if self.remote is None:
            self._release(keys(), reads=reads)
            return
        shown = {step: self._shown(step) for step in (1, 4)}
        for artefact in self.remote(self, self._choice()):
            show = shown.get(artefact.step)
            if show is not None:
                show(artefact)

    def _inside(self, choice: IdentityChoice | None = None) -> Cloud:
        return self.cloud.enter(self.stage.vm, resource_group=self.stage.resource_group, identity=choice)

    def _check_inside(self) -> None:
        """Return nothing if this machine is the VM of the stage. Raises `UsageError` if it is not."""
        from skrkit.services.imds import check_machine

        inside = self._inside()
        check_machine(inside, vm=self.stage.vm, resource_group=self.stage.resource_group)

    def _choice(self) -> IdentityChoice | None:
        """The identity that programs in the VM ask IMDS for. Before step 1, what the stage itself can tell."""
        return self.identity.choice if self.identity else identity.known_choice(self.cloud, self.stage)

    def _shown(self, step: int) -> Show | None:
        if step not in self.steps:
            return None

        def show(artefact: Artefact) -> None:
            self.artefacts.append(artefact)
            if self.show is not None:
                self.show(artefact)

        return show

    def _identity(self) -> None:
        """Steps 1 and 2: the second needs the object id that the first makes."""
        show = self._shown(1)
        with self.doing(STEP_TITLES[1]):
            self.identity = identity.enable(self.cloud, self.stage, show=show)
            if self.cloud.world == "sandbox" and self.remote is None:  # else this is done inside the VM, with step 4
                inside = self._inside(self._choice())
                identity.request_token(inside, self.stage.token_resource(self.cloud), show=show)
        if max(self.steps) >= 2:
            with self.doing(STEP_TITLES[2]):
                self.access = access.grant(self.cloud, self.stage, self.identity.object_id, show=self._shown(2))

    def _keys(self) -> Sequence[ReleasableKey]:
        """Step 3: one RSA key shown in full, and in silence the other keys that step 4 uses."""
        from skrkit.policy.templates import cvm_policy

        vault = self.stage.vault_url(self.cloud)
        guest = cvm_policy(self.stage.attestation)
        platform = cvm_policy(self.stage.attestation, guest=False)
        wanted: tuple[tuple[str, bool, KeyType], ...] = (
            (self.stage.key, True, "RSA-HSM"),
            (self.stage.ec_key, True, "EC-HSM"),
            (self.stage.platform_key, False, "RSA-HSM"),
            (self.stage.oct_key, True, "oct-HSM"),
        )
        with self.doing(STEP_TITLES[3]):
            return [
                key.create(
                    self.cloud,
                    vault,
                    name,
                    guest if for_guest else platform,
                    key_type=key_type,
                    show=self._shown(3) if name == self.stage.key else None,
                )
                for name, for_guest, key_type in wanted
                if name in self.stage.keys
            ]

    def _known_keys(self) -> Sequence[ReleasableKey]:
        """The keys of step 3 as that step makes them, for a VM that may not read them: latest version, known policy."""
        from skrkit.policy.templates import cvm_policy
        from skrkit.provision.key import ReleasableKey

        guest = cvm_policy(self.stage.attestation)
        platform = cvm_policy(self.stage.attestation, guest=False)
        policies = {self.stage.platform_key: platform}
        return [
            ReleasableKey(name=name, version="", kid="", policy=policies.get(name, guest), artefacts=())
            for name in self.stage.keys
        ]

    def _release(self, keys: Sequence[ReleasableKey], *, reads: bool) -> None:
        """Step 4, by both attestation paths. `reads` says whether this side may read the key to compare it."""
        from skrkit.services.attester import Attester
        from skrkit.services.maa import GuestAttestation, PlatformAttestation, provider_url
        from skrkit.services.rest import RestClient
        from skrkit.services.vault import Vault, key_client

        inside = self._inside(self._choice())
        url = self.stage.vault_url(self.cloud)
        issuer = provider_url(self.stage.attestation)
        made = Collector(4, self._shown(4))
        if self.cloud.world == "azure":  # in the sandbox step 1 did this already, from inside
            identity.request_token(inside, self.stage.token_resource(self.cloud), show=self._shown(1))
        with (
            Attester(inside) as attester,
            RestClient(inside) as rest,
            key_client(self.cloud, url) if reads else nullcontext() as reader,
            key_client(inside, url) as releaser,
        ):
            vault = Vault(url=url, reader=reader, releaser=releaser)
            with self.doing("Reading the evidence, attesting, opening the sealed token"):
                self.attested = self._attest(attester, GuestAttestation(client=rest, issuer=issuer), made)
            with self.doing("Releasing the key and unwrapping it in the vTPM"):
                self._releases(attester, vault, self.attested.token, keys, made)
                if self.stage.hsm:
                    self._symmetric(attester, vault, self.attested.token, keys[3], made)
            with self.doing("The other path: platform attestation"):
                quiet = Collector(4)
                platform = self._attest(attester, PlatformAttestation(client=rest, issuer=issuer), quiet)
                self._platform(attester, vault, platform.token, keys, made, quiet)

    def _attest(self, attester: Attester, issuer: TokenIssuer, made: Collector) -> Attested:
        from skrkit.release.flow import attest

        nonce = self.cloud.make_nonce()
        roots, now = self.cloud.amd_roots(), self.cloud.now()
        return attest(attester, issuer, nonce=nonce, amd_roots=roots, now=now, made=made)

    def _terms(self, key: ReleasableKey, enc: Enc) -> Terms:
        from skrkit.release.flow import Terms

        return Terms(
            key=key.name,
            version=key.version,
            policy=key.policy,
            enc=enc,
            nonce=self.cloud.make_nonce(),
            host=self.stage.vault_url(self.cloud).removeprefix("https://"),
            roots=self.cloud.release_roots(),
            now=self.cloud.now(),
        )

    def _releases(
        self, attester: Attester, vault: KeyVault, token: VerifiedToken, keys: Sequence[ReleasableKey], made: Collector
    ) -> None:
        """One release in full; then every way to wrap, for an RSA and an EC key, with one token."""
        from skrkit.release.flow import open_release, request_release
        from skrkit.release.request import Enc

        rsa, ec = keys[0], keys[1]
        terms = self._terms(rsa, Enc.RSA_AES_KEY_WRAP_256)
        answer = request_release(vault, token, terms, made=made)
        self.released = open_release(attester, vault, answer, terms, made=made)
        rows: list[Json] = []
        for releasable in (rsa, ec):
            for enc in Enc:
                terms = self._terms(releasable, enc)
                released = open_release(attester, vault, request_release(vault, token, terms), terms)
                rows.append({"key": releasable.name, "enc": enc.value, "released": repr(released.key)})
        made.add(
            "every-enc",
            "Every way to wrap, for both kinds of key",
            rows,
            proves="Each was released, verified, unwrapped in the vTPM, and answered to the vault's public key.",
            next="enc chooses the hash of RSA-OAEP; a client and a vTPM that disagree on it cannot open the key.",
        )

    def _symmetric(
        self, attester: Attester, vault: Vault, token: VerifiedToken, key: ReleasableKey, made: Collector
    ) -> None:
        """A symmetric key, which a Managed HSM alone has: its bytes come as they are; no public half judges them."""
        from skrkit.release.flow import open_release, request_release
        from skrkit.release.proof import prove_symmetric
        from skrkit.release.request import Enc

        terms = self._terms(key, Enc.RSA_AES_KEY_WRAP_256)
        released = open_release(attester, vault, request_release(vault, token, terms), terms)
        message = self.cloud.make_nonce().encode()
        sealed = vault.encrypt_symmetric(key.name, key.version, message)
        proof = released.proof
        if sealed is not None:
            iv, ciphertext, tag = sealed
            proof = prove_symmetric(released.key, message, iv=iv, ciphertext=ciphertext, tag=tag)
        made.add(
            "oct-released",
            "A symmetric key",
            {"key": key.name, "released": repr(released.key), "proof": proof.operation},
            proves="What is wrapped are the key's 32 bytes, without PKCS#8. " + _SYMMETRIC[sealed is not None],
            next="It opens what the HSM's key sealed; in a VM that may only release, compare what it decrypts.",
        )

    def _platform(
        self,
        attester: Attester,
        vault: KeyVault,
        token: VerifiedToken,
        keys: Sequence[ReleasableKey],
        made: Collector,
        quiet: Collector,
    ) -> None:
        """The platform token: shown, refused by a policy for guests, and released to a key that cannot unwrap."""
        for artefact in quiet.made:
            if artefact.name in ("maa-request", "maa-token"):
                made.keep(replace(artefact, name=f"platform-{artefact.name}", title=f"Platform path: {artefact.title}"))
        made.add(
            "platform-refused",
            "Platform path: the release under a policy for guest tokens",
            self._platform_outcome(attester, vault, token, keys[0]),
            proves="The policy asks under x-ms-isolation-tee, where a platform token has nothing: a no, with reason.",
            next="A policy fits one path; the next key has one for platform tokens.",
        )
        made.add(
            "platform-released",
            "Platform path: the release under a policy for platform tokens",
            self._platform_outcome(attester, vault, token, keys[2]),
            proves="The vault says yes and wraps for the only key it finds, the EK, whose use the guest does not have.",
            next="To release a key into a VM, attest as a guest: that token carries the ephemeral key.",
        )

    def _platform_outcome(
        self, attester: Attester, vault: KeyVault, token: VerifiedToken, key: ReleasableKey
    ) -> dict[str, Json]:
        from skrkit.errors import VerificationError
        from skrkit.release.flow import open_release, request_release
        from skrkit.release.request import Enc

        terms = self._terms(key, Enc.RSA_AES_KEY_WRAP_256)
        try:
            answer = request_release(vault, token, terms)
        except ReleaseRefused as refused:
            return {"key": key.name, "released": False, "said": refused.found, "why": refused.fix}
        outcome: dict[str, Json] = {"key": key.name, "released": True, "wrapped_for": answer.key_hsm.kid}
        try:
            open_release(attester, vault, answer, terms)
        except VerificationError as failed:
            said = f"{failed.what} {failed.where}: expected {failed.expected}, found {failed.found}"
            return outcome | {"unwrapped": False, "failed": failed.step, "said": said}
        return outcome | {"unwrapped": True}
