"""The signed answer to a release: text to model, and the one way from there to a verified release."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar, NoReturn

from skrkit.encoding import any_b64_bytes, json_object, json_type, member
from skrkit.errors import ParseError, UsageError, VerificationError
from skrkit.release.key_hsm import KeyHsm, parse_key_hsm
from skrkit.release.request import Enc
from skrkit.release.signer import ReleaseStep
from skrkit.token.decode import decode_compact_jws
from skrkit.wire import Json, Span, pointer

if TYPE_CHECKING:
    from cryptography import x509

MAX_RESPONSE_BYTES = 256 * 1024  # a real one has 17 kB, most of it certificates
MAX_CERTIFICATES = 8  # three in every response seen
_FIX = "Take the body of the answer to POST /keys/<name>/release as it came."
_SOURCE = "Key Vault release, response"
_VERIFIED = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseResponse:
    """A release response that nobody has verified yet. `x5c` are DER certificates, the signer's first.

    `request` is the service's echo: api-version, enc, kid, and a nonce when one was sent (inferred). `key` is the
    key's JWK, `key_hsm` inside it the wrapped private key. `jws` is the compact text, what the signature is over.
    """

    header: dict[str, Json] = field(repr=False)
    payload: dict[str, Json] = field(repr=False)
    x5c: tuple[bytes, ...] = field(repr=False)
    request: dict[str, Json]
    enc: Enc
    nonce: str | None
    key: dict[str, Json] = field(repr=False)
    attributes: dict[str, Json]
    release_policy: dict[str, Json] = field(repr=False)
    key_hsm: KeyHsm = field(repr=False)
    signature: bytes = field(repr=False)
    signing_input: bytes = field(repr=False)
    raw: bytes = field(repr=False)

    kind: ClassVar[str] = "release-response"
    title: ClassVar[str] = "Key release response"

    def fields(self) -> dict[str, Json]:
        """Return header, request, key, attributes and policy by the service's names; `key_hsm` opened one level."""
        from skrkit.release.signer import certificate_fields

        header: dict[str, Json] = {name: value for name, value in self.header.items() if name != "x5c"}
        header["x5c"] = [certificate_fields(der) for der in self.x5c]
        key: dict[str, Json] = {**self.key, "key_hsm": self.key_hsm.fields()}
        return {
            "header": header,
            "request": self.request,
            "key": key,
            "attributes": self.attributes,
            "release_policy": self.release_policy,
            "signature_length": len(self.signature),
        }

    def spans(self) -> tuple[Span, ...]:
        """Return no spans: the response is text."""
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedRelease:
    """A release response that `verify_release` has verified. There is no other way to make one.

    `signer` names the leaf certificate, `root` the trusted root that the chain ends in.
    """

    response: ReleaseResponse
    steps: tuple[ReleaseStep, ...]
    signer: str
    root: str
    verified_at: datetime
    proof: InitVar[object]

    def __post_init__(self, proof: object) -> None:
        """Refuse everybody but `verify_release`."""
        if proof is not _VERIFIED:
            raise UsageError(
                what="VerifiedRelease",
                where="its constructor",
                expected="to be called by verify_release alone",
                found="another caller",
                fix="Call verify_release(response, roots=…, host=…, enc=…, nonce=…, now=…).",
            )

    @property
    def key_hsm(self) -> KeyHsm:
        """The wrapped private key, covered by the signature."""
        return self.response.key_hsm

    @property
    def key(self) -> dict[str, Json]:
        """The key's JWK, covered by the signature."""
        return self.response.key

    @property
    def not_checked(self) -> tuple[ReleaseStep, ...]:
        """The steps that could not be checked."""
        return tuple(step for step in self.steps if step.verdict == "not-checked")


def parse_release_response(data: bytes | str) -> ReleaseResponse:
    """Return the release response in a body `{"value": <compact JWS>}`, or in the compact JWS itself.

    The payload has `request` (enc, kid) and `response.key` (key with kid, kty and key_hsm; attributes;
    release_policy). Unknown members stay in `payload`. Raises `ParseError`: too large, not such a document, an
    unknown enc, a `key_hsm` that is none. Source: Key Vault release, response; seen in real responses of 2021-22.
    """
    raw = data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass")
    text = raw
    if raw.lstrip(b" \t\r\n").startswith(b"{"):
        body = json_object(raw, what="release response", where="the whole body", limit=MAX_RESPONSE_BYTES)
        text = str(member(body, "value", str, what="release response")).encode("utf-8", "surrogatepass")
    jws = decode_compact_jws(text, what="release response", limit=MAX_RESPONSE_BYTES)
    request = _inner(jws.payload, ("request",))
    bundle = _inner(jws.payload, ("response", "key"))
    at = pointer("response", "key")
    key = _inner(bundle, ("key",), at)
    for name in ("kid", "kty"):
        member(key, name, str, what="released key", at=at + pointer("key"))
    return ReleaseResponse(
        header=jws.header,
        payload=jws.payload,
        x5c=_x5c(jws.header),
        request=request,
        enc=_enc(request),
        nonce=_nonce(request),
        key=key,
        attributes=_inner(bundle, ("attributes",), at),
        release_policy=_inner(bundle, ("release_policy",), at),
        key_hsm=parse_key_hsm(str(member(key, "key_hsm", str, what="released key", at=at + pointer("key")))),
        signature=jws.signature,
        signing_input=jws.signing_input,
        raw=raw,
    )


def _inner(parent: dict[str, Json], path: tuple[str, ...], at: str = "") -> dict[str, Json]:
    for name in path:
        value = member(parent, name, dict, what="release response", at=at)
        assert isinstance(value, dict)
        parent, at = value, at + pointer(name)
    return parent


def _enc(request: dict[str, Json]) -> Enc:
    value = str(member(request, "enc", str, what="release response", at="/request"))
    try:
        return Enc(value)
    except ValueError:
        expected = ", ".join(enc.value for enc in Enc)
        _malformed("release response enc", "/request/enc", expected, repr(value[:80]))


def _nonce(request: dict[str, Json]) -> str | None:
    if "nonce" not in request:
        return None
    return str(member(request, "nonce", str, what="release response", at="/request"))


def _x5c(header: dict[str, Json]) -> tuple[bytes, ...]:
    entries = member(header, "x5c", list, what="release response header")
    assert isinstance(entries, list)
    if not 1 <= len(entries) <= MAX_CERTIFICATES:
        _malformed("release response x5c", "header /x5c", f"1 to {MAX_CERTIFICATES} certificates", str(len(entries)))
    certificates = []
    for index, entry in enumerate(entries):
        where = "header " + pointer("x5c", index)
        if not isinstance(entry, str) or not entry:
            found = "empty text" if entry == "" else f"a JSON {json_type(entry)}"
            _malformed("release response x5c", where, "base64 of a certificate", found)
        certificates.append(any_b64_bytes(entry, what="release response x5c", where=where))
    return tuple(certificates)


def _malformed(what: str, where: str, expected: str, found: str) -> NoReturn:
    raise ParseError(what=what, where=where, expected=expected, found=found, fix=_FIX, source=_SOURCE)


def verify_release(
    response: ReleaseResponse,
    *,
    roots: Sequence[x509.Certificate],
    host: str,
    enc: Enc,
    nonce: str | None,
    now: datetime,
) -> VerifiedRelease:
    """Return the response as verified to come from the vault at `host`, for the request that was made.

    Each step stops at the first failure with a `VerificationError` whose `step` is the name given here:

    1. `release.alg`: RS256 and nothing else; `release.header`: no crit, jwk, x5u or b64.
    2. `release.x5c`: certificates that read. `release.x5t`, `release.x5t_s256`: the leaf's SHA-1 and SHA-256 when
       the header has them (a Managed HSM sends no x5t); without either the step is "not-checked".
    3. `release.signature`: RS256 by the leaf's key, RSA of 2048 bits or more, over the bytes as received.
    4. `release.chain`: each certificate is issued and signed by the next. `release.ca`: each issuer is a CA and may
       sign certificates, within its path length; `release.critical`: no critical extension that is not understood.
    5. `release.validity`: every certificate is valid at `now`.
    6. `release.root`: the last certificate has the public key of one of `roots`, or is issued by one.
    7. `release.host`: a DNS name of the leaf is `host`, or a wildcard for its first label.
    8. `release.kid`: both kids are of `host`, and name the same key.
    9. `release.enc`: the request's echo and `key_hsm` both have the `enc` that was asked for.
    10. `release.nonce`: the echo is the nonce that was sent. That the service echoes it is inferred, so an absent
        echo is "not-checked"; a different one, or one that nobody sent, fails.

    Not checked: revocation, certificate policies, CT. The payload has no time of its own: freshness is the nonce.
    Raises `UsageError` for no roots, a naive `now`, or a `host` that is no bare host name.
    Source: Key Vault release, response JWS header and payload; RFC 5280 section 6; RFC 6125 section 6.4.
    """
    from skrkit.release import signer

    _check_arguments(roots, host, now)
    steps: list[ReleaseStep] = []
    seen = parse_release_response(response.raw)  # from the bytes again: the model's members may have been changed
    steps.append(_algorithm(seen.header))  # (1)
    chain = signer.load_chain(seen.x5c)  # (2)
    steps.extend(signer.check_thumbprints(seen.header, chain[0]))
    steps.append(signer.check_signature(chain[0], seen.signing_input, seen.signature))  # (3)
    steps.extend(signer.check_chain(chain))  # (4)
    steps.append(signer.check_validity(chain, now))  # (5)
    root, step = signer.check_root(chain, roots, now)  # (6)
    steps.append(step)
    steps.append(signer.check_host(chain[0], host))  # (7)
    steps.extend((_kids(seen, host), _same_enc(seen, enc), _same_nonce(seen, nonce)))  # (8) (9) (10)
    return VerifiedRelease(
        response=seen,
        steps=tuple(steps),
        signer=chain[0].subject.rfc4514_string(),
        root=root.subject.rfc4514_string(),
        verified_at=now,
        proof=_VERIFIED,
    )


def _check_arguments(roots: Sequence[x509.Certificate], host: str, now: datetime) -> None:
    found: tuple[str, str, str] | None = None
    if not roots:
        found = ("roots", "at least one root certificate", "none")
    elif now.tzinfo is None or now.utcoffset() is None:
        found = ("now", "an aware datetime", "a naive one")
    elif not host or any(mark in host for mark in "/:@*? "):
        found = ("host", "a bare host name, such as myvault.vault.azure.net", repr(host))
    if found:
        name, expected, have = found
        raise UsageError(
            what=f"verify_release {name}",
            where=f"argument {name}",
            expected=expected,
            found=have,
            fix="Pass what the client is configured with, never what the response says.",
        )


def _refuse(step: str, what: str, where: str, expected: str, found: str, fix: str) -> NoReturn:
    raise VerificationError(step=step, what=what, where=where, expected=expected, found=found, fix=fix, source=_SOURCE)


def _algorithm(header: Mapping[str, Json]) -> ReleaseStep:
    algorithm = header.get("alg")
    if algorithm != "RS256":
        found = "nothing" if "alg" not in header else repr(algorithm)[:80]
        fix = "Refuse the response: the service signs RS256 and nothing else."
        _refuse("release.alg", "release response alg", "header /alg", "RS256", found, fix)
    for name in ("crit", "jwk", "x5u", "b64"):
        if name in header:
            fix = "Refuse the response: no extension is understood, and no key but x5c's is used."
            _refuse("release.header", f"release response {name}", f"header /{name}", "nothing", "the member", fix)
    return ReleaseStep(id="release.alg", verdict="ok", detail="RS256")


def _kids(response: ReleaseResponse, host: str) -> ReleaseStep:
    asked = response.request.get("kid")
    if not isinstance(asked, str):
        found = "nothing" if "kid" not in response.request else f"a JSON {json_type(asked)}"
        _refuse("release.kid", "kid asked for", "/request/kid", f"a key at https://{host}", found, "Refuse it.")
    released = str(response.key["kid"])
    fix = "Refuse the response: it is about a key of another vault, or about another key."
    for where, kid in (("/request/kid", asked), ("/response/key/key/kid", released)):
        if not kid.lower().startswith(f"https://{host.lower()}/keys/"):
            _refuse("release.kid", "vault of the key", where, f"https://{host}/keys/…", repr(kid[:200]), fix)
    name, version = _name_and_version(asked)
    released_name, released_version = _name_and_version(released)
    same = name == released_name and version in ("", released_version)
    if not (name and released_version and same) or "/" in released_version:
        _refuse(
            "release.kid", "released key", "/response/key/key/kid", f"a version of {asked}", repr(released[:200]), fix
        )
    return ReleaseStep(id="release.kid", verdict="ok", detail=released)


def _name_and_version(kid: str) -> tuple[str, str]:
    name, _, version = kid.partition("://")[2].split("/", 2)[2].partition("/")
    return name.lower(), version.lower()


def _same_enc(response: ReleaseResponse, enc: Enc) -> ReleaseStep:
    fix = "Refuse the response: the key would be unwrapped in another way than the one that was asked for."
    for where, found in (("/request/enc", response.enc), ("key_hsm /header/enc", response.key_hsm.enc)):
        if found is not enc:
            _refuse("release.enc", "enc of the release", where, enc.value, found.value, fix)
    return ReleaseStep(id="release.enc", verdict="ok", detail=enc.value)


def _same_nonce(response: ReleaseResponse, nonce: str | None) -> ReleaseStep:
    found = response.nonce
    if found is None:
        sent = "none was sent" if nonce is None else "one was sent; that the service echoes it is inferred"
        detail = f"the response has no nonce, {sent}: it may be an older one"
        return ReleaseStep(id="release.nonce", verdict="not-checked", detail=detail)
    if found != nonce:
        expected = "nothing, for none was sent" if nonce is None else repr(nonce[:80])
        fix = "Refuse the response: it answers another request. Release the key again."
        _refuse("release.nonce", "release nonce", "/request/nonce", expected, repr(found[:80]), fix)
    return ReleaseStep(id="release.nonce", verdict="ok", detail="the nonce that was sent")
