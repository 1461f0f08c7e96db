"""A live case: step 4 walked once, whatever fails, and everything around it that can be read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from skrkit.diagnosis.case import Case, Exchange
from skrkit.diagnosis.refusal import KEY_READ
from skrkit.doctor.kept import KeptIssuer, KeptSource, evidence_by_piece, evidence_files, raw_token
from skrkit.encoding import b64url_bytes
from skrkit.errors import ServiceError, SkrkitError

if TYPE_CHECKING:
    from skrkit.cloud import Cloud
    from skrkit.endpoints import Endpoints
    from skrkit.policy.model import ReleasePolicy
    from skrkit.provision.stage import Stage
    from skrkit.services.reader import Reader
    from skrkit.services.recording import HttpExchange
    from skrkit.token.verify import VerifiedToken
    from skrkit.wire import Json

AT_ONCE: Mapping[str, Any] = {"retry_total": 0, "connection_timeout": 10, "read_timeout": 30}
"""Settings of clients that are to say what a service says now, and not whether it would come round in a while."""
MAX_TEXT = 2_048  # of one text in a recorded body; evidence stands in the case by itself
REMEMBERED = 64  # exchanges: a walk has about ten


def gather_case(cloud: Cloud, stage: Stage, *, release: bool = True) -> Case:
    """Return what one walk through step 4 shows, with the error that ended it, if one did.

    `cloud` is the operator's, or this machine's in Azure. The walk takes the legs in the order of a release: vTPM,
    identity, attestation, release, unwrapping; its exchanges are recorded, and the last is the one that failed, if it
    was one. What stands around it (the VM, the vault and the key as their owner sees them) is read first, and left
    out where this side may not read it. `release` False ends the walk with the attestation. Never raises one of the
    six errors: it is the case's `error`.
    """
    known = _Known(cloud=replace(cloud, settings=AT_ONCE), stage=stage)
    known.around()
    try:
        known.walk(release=release)
    except SkrkitError as error:
        known.error = error_members(error)
    known.keys_of_authority()
    return known.case()


def error_members(error: SkrkitError) -> dict[str, Json]:
    """Return an error as a case keeps it: its JSON members, for a service's error with status and code."""
    members: dict[str, Json] = dict(error.to_json())
    if isinstance(error, ServiceError):
        members |= {"status": error.status, "code": error.code}
    return members


def service_of(url: str, endpoints: Endpoints) -> str:
    """Return which service an address belongs to, as a case names it, or an empty text.

    The names are "imds", "entra", "arm", "vault", "hsm", "maa", "kds".
    """
    host = urlsplit(url).hostname or ""
    exact = {
        urlsplit(endpoints.imds).hostname: "imds",
        endpoints.login: "entra",
        endpoints.management: "arm",
        "kdsintf.amd.com": "kds",
    }
    if host in exact:
        return exact[host]
    if host.endswith(f".{endpoints.vault_suffix}"):
        return "vault"
    if host.endswith(f".{endpoints.managedhsm_suffix}"):
        return "hsm"
    return "maa" if host.endswith(f".{endpoints.attest_suffix}") else ""


def exchange_of(seen: HttpExchange, endpoints: Endpoints) -> Exchange:
    """Return a recorded exchange as a case keeps it: long texts, which are evidence, by their digest."""
    return Exchange(
        service=service_of(seen.url, endpoints),
        method=seen.method,
        url=seen.url,
        request_headers=seen.headers,
        request_body=_shortened(seen.body),
        status=seen.status,
        response_headers=seen.response_headers,
        response_body=_shortened(seen.response_body),
        error=seen.error,
    )


def _shortened(value: Json) -> Json:
    from skrkit.services.recording import digest

    if isinstance(value, dict):
        return {name: _shortened(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_shortened(member) for member in value]
    return digest(value) if isinstance(value, str) and len(value) > MAX_TEXT else value


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundKey:
    """A key as this side can read it: its bundle, or what is left of a deleted one, or the error that forbids both.

    `shown` is what Resource Manager tells of a key that the vault does not let this side read, as a bundle.
    """

    bundle: Mapping[str, Json] = field(default_factory=dict)
    deleted: Mapping[str, Json] = field(default_factory=dict)
    forbidden: Mapping[str, Json] = field(default_factory=dict)
    shown: Mapping[str, Json] = field(default_factory=dict)

    @property
    def known(self) -> Mapping[str, Json]:
        """What is known of the key, by whichever way."""
        return self.bundle or self.deleted or self.shown


def read_key(reader: Reader, vault_url: str, vault_id: str, name: str) -> FoundKey:
    """Return what can be told of a key. Nothing at all where the vault does not answer."""
    try:
        return FoundKey(bundle=reader.key(vault_url, name))
    except ServiceError as error:
        if error.status == HTTPStatus.FORBIDDEN:
            return FoundKey(forbidden=error_members(error), shown=_shown_key(reader, vault_id, name))
        with suppress(SkrkitError):
            if error.status == HTTPStatus.NOT_FOUND:
                return FoundKey(deleted=reader.deleted_key(vault_url, name))
    except SkrkitError:
        pass
    return FoundKey()


def _shown_key(reader: Reader, vault_id: str, name: str) -> dict[str, Json]:
    """Return a key as Resource Manager shows it, in the form of a bundle; empty where it shows none."""
    try:
        properties = reader.key_resource(vault_id, name).get("properties")
    except SkrkitError:
        return {}
    if not isinstance(properties, dict):
        return {}
    key = {"kid": "keyUriWithVersion", "kty": "kty", "key_ops": "keyOps"}
    shown: dict[str, Json] = {"key": {name: properties.get(member) for name, member in key.items()}}
    return shown | {name: properties[name] for name in ("attributes", "release_policy") if name in properties}


def policy_text(bundle: Mapping[str, Json]) -> bytes:
    """Return the release policy in a key bundle as text; empty where there is none, or it does not decode."""
    stored = bundle.get("release_policy")
    data = stored.get("data") if isinstance(stored, dict) else None
    if isinstance(data, str):
        with suppress(SkrkitError):
            return b64url_bytes(data, what="release policy", where="/release_policy/data")
    return b""


def version_of(bundle: Mapping[str, Json]) -> str:
    """Return the version that a key bundle is of, the last part of its kid; empty where there is none."""
    key = bundle.get("key")
    kid = str(key.get("kid") or "") if isinstance(key, dict) else ""
    parts = urlsplit(kid).path.strip("/").split("/")
    return parts[2] if len(parts) == 3 else ""


@dataclass(slots=True, kw_only=True)
class _Known:
    """What is known so far. Each part is filled in by who reads it."""

    cloud: Cloud
    stage: Stage
    at: datetime = field(init=False)
    error: dict[str, Json] = field(default_factory=dict)
    exchanges: list[HttpExchange] = field(default_factory=list)
    access_token: dict[str, Json] = field(default_factory=dict)
    token: bytes = field(default=b"", repr=False)
    jwks: bytes = b""
    found: FoundKey = field(default_factory=FoundKey)
    vault: dict[str, Json] = field(default_factory=dict)
    vm: dict[str, Json] = field(default_factory=dict)
    instance: dict[str, Json] = field(default_factory=dict)
    evidence: dict[str, bytes] = field(default_factory=dict, repr=False)
    asked: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.at = self.cloud.now()

    def around(self) -> None:
        """Read what the operator may read: the VM, the vault, the key. What may not be read stays unknown."""
        from skrkit.services.reader import Reader

        stage, cloud = self.stage, self.cloud
        with Reader(cloud) as reader:
            with suppress(SkrkitError):
                self.vm = reader.vm(stage.vm_id(cloud))
            if not stage.hsm:
                with suppress(SkrkitError):
                    self.vault = reader.vault(stage.vault_id(cloud))
            self.found = read_key(reader, stage.vault_url(cloud), stage.holder_id(cloud), stage.key)

    def walk(self, *, release: bool) -> None:
        """Walk step 4 as the VM. Raises what its steps raise."""
        from skrkit.provision.identity import known_choice
        from skrkit.services.attester import Attester, check_paravisor
        from skrkit.services.identities import chosen_of, identities_of
        from skrkit.services.imds import fetch_instance
        from skrkit.services.maa import GuestAttestation, provider_url
        from skrkit.services.recording import recorded
        from skrkit.services.rest import RestClient

        stage, choice = self.stage, known_choice(self.cloud, self.stage)
        acting = chosen_of(identities_of(self.vm), choice)
        self.asked = {
            "vault": stage.hsm or stage.vault,
            "key": stage.key,
            "resource_group": stage.resource_group,
            "vm": stage.vm,
            "object_id": acting.object_id if acting else "",
        }
        unheard = self.cloud.enter(stage.vm, resource_group=stage.resource_group, identity=choice)
        inside = recorded(unheard, self._record)
        with Attester(inside) as attester, RestClient(inside) as rest:
            check_paravisor(attester.tpm)
            with suppress(SkrkitError):
                compute = fetch_instance(unheard).get("compute")
                self.instance = compute if isinstance(compute, dict) else {}
            self._sign_in(inside)
            source = KeptSource(inner=attester)
            issuer = KeptIssuer(inner=GuestAttestation(client=rest, issuer=provider_url(stage.attestation)))
            with self._kept(source, issuer, unheard):
                verified = self._attest(source, issuer)
            if release:
                self._release(source, inside, verified)

    def _record(self, seen: HttpExchange) -> None:
        if len(self.exchanges) < REMEMBERED:
            self.exchanges.append(seen)

    def _sign_in(self, inside: Cloud) -> None:
        """Ask for the token that the vault will be asked with, and keep its claims."""
        from skrkit.services.azure_errors import azure_call
        from skrkit.token.decode import decode_jwt

        with azure_call("access token of the VM"):
            token = inside.credential().get_token(f"{self.stage.token_resource(inside)}/.default").token
        self.access_token = decode_jwt(token).claims
        self.asked["object_id"] = str(self.access_token.get("oid") or self.asked["object_id"])

    def _attest(self, source: KeptSource, issuer: KeptIssuer) -> VerifiedToken:
        from skrkit.artefact import Collector
        from skrkit.release.flow import attest

        nonce = self.asked["nonce"] = self.cloud.make_nonce()
        roots, now = self.cloud.amd_roots(), self.cloud.now()
        return attest(source, issuer, nonce=nonce, amd_roots=roots, now=now, made=Collector(4)).token

    @contextmanager
    def _kept(self, source: KeptSource, issuer: KeptIssuer, unheard: Cloud) -> Iterator[None]:
        """Keep evidence and token, however the block ends."""
        try:
            yield
        finally:
            if source.collected is not None:
                self.evidence = evidence_files(source.collected)
            else:
                source.inner.cloud, heard = unheard, source.inner.cloud  # what failed last stays the last one recorded
                self.evidence = evidence_by_piece(source.inner)
                source.inner.cloud = heard
            self.token = raw_token(source, issuer)

    def _release(self, source: KeptSource, inside: Cloud, token: VerifiedToken) -> None:
        from skrkit.release.flow import Terms, open_release, request_release
        from skrkit.release.request import Enc
        from skrkit.services.recording import recorded
        from skrkit.services.vault import Vault, key_client

        stage, enc = self.stage, Enc.RSA_AES_KEY_WRAP_256
        url = stage.vault_url(self.cloud)
        terms = Terms(
            key=stage.key,
            version=version_of(self.found.known),
            policy=self._policy(),
            enc=enc,
            nonce=self.cloud.make_nonce(),
            host=url.removeprefix("https://"),
            roots=self.cloud.release_roots(),
            now=self.cloud.now(),
        )
        self.asked |= {"version": terms.version, "enc": enc.value, "release-nonce": terms.nonce}
        reads = bool(self.found.bundle)  # who could not read the key before the release cannot compare it afterwards
        outside = recorded(self.cloud, self._record)
        with key_client(outside, url) if reads else nullcontext() as reader, key_client(inside, url) as releaser:
            vault = Vault(url=url, reader=reader, releaser=releaser)
            answer = request_release(vault, token, terms)
            open_release(source, vault, answer, terms)

    def _policy(self) -> ReleasePolicy:
        """Return the key's policy, or where it cannot be read the one that step 3 makes."""
        from skrkit.policy.parse import parse_policy
        from skrkit.policy.templates import cvm_policy

        text = policy_text(self.found.known)
        return parse_policy(text) if text else cvm_policy(self.stage.attestation)

    def keys_of_authority(self) -> None:
        """Read what the configured provider publishes, past the record. Unknown where it does not answer."""
        from skrkit.services.maa import fetch_signing_keys, provider_url
        from skrkit.services.rest import RestClient

        with suppress(SkrkitError), RestClient(self.cloud) as rest:
            self.jwks = fetch_signing_keys(rest, provider_url(self.stage.attestation)).raw

    def case(self) -> Case:
        """Return what is known as a case."""
        roots: Mapping[str, str] = {}
        if self.cloud.world == "sandbox":
            with suppress(SkrkitError):
                roots = self.cloud.amd_roots().ark
        return Case(
            at=self.at,
            error=self.error,
            exchanges=tuple(exchange_of(seen, self.cloud.endpoints) for seen in self.exchanges),
            access_token=self.access_token,
            token=self.token,
            jwks=self.jwks,
            authority=self.stage.attestation,
            policy=policy_text(self.found.known),
            key=self.found.known,
            vault=self.vault,
            vm=self.vm,
            instance=self.instance,
            evidence=self.evidence,
            asked=self.asked,
            machine={KEY_READ: dict(self.found.forbidden)} if self.found.forbidden else {},
            world=self.cloud.world,
            faults=self.cloud.read_faults(),
            amd_roots=roots,
        )
