"""The token leg: the attestation token decoded, and verified as the client and the vault do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from skrkit.diagnosis.finding import Certainty, Finding
from skrkit.diagnosis.reading import Reading
from skrkit.errors import ParseError, SkrkitError, VerificationError
from skrkit.wire import Json

if TYPE_CHECKING:
    from skrkit.token.jwks import Jwks

EPHEMERAL_KID = "TpmEphemeralEncryptionKey"
SKEW = timedelta(seconds=300)  # what the client allows; a service's clock is taken for right
_CAUSE_OF_STEP = {
    "token.alg": "token.algorithm-confusion",
    "token.header": "token.brings-key",
    "token.issuer": "token.other-authority",
    "token.jku": "token.jku-swap",
    "token.kid": "token.signing-key-rotated",
    "token.key": "token.signing-key",
    "token.signature": "token.signature",
    "token.times": "token.expired",
    "token.lifetime": "token.lifetime",
    "token.nonce": "token.replayed",
    "token.transfer_key": "token.other-vm",
    "token.truncated": "token.truncated",
    "envelope.": "token.envelope",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What is wrong with a token: the step that fails, and what it expected and found where."""

    step: str
    where: str
    expected: str
    found: str


def recognise(reading: Reading) -> Iterator[Finding]:
    """Return why the client refused the token: by the step that failed, which it saw itself, or that it is none."""
    refusal = reading.refusal
    error = refusal.error
    step = refusal.step or ("token.truncated" if str(error.get("what")).startswith("JWT") else "envelope.parse")
    told = Fault(
        step=step,
        where=str(error.get("where") or ""),
        expected=str(error.get("expected") or ""),
        found=str(error.get("found") or "")[:300],
    )
    seen = None if refusal.step else judged(reading)
    proved = bool(refusal.step) or (seen is not None and seen.step == step)
    yield from _named(reading, told, "proved" if proved else "likely")


def foresee(reading: Reading) -> Iterator[Finding]:
    """Return what the token alone shows."""
    yield from shown_by_token(reading)


def shown_by_token(reading: Reading) -> Iterator[Finding]:
    """Return what is wrong with the token at hand; nothing where nothing is, or it is not known."""
    fault = judged(reading)
    if fault is not None:
        yield from _named(reading, fault, "proved")


def judged(reading: Reading) -> Fault | None:
    """Return the first thing that is wrong with the token: what verification says, then the key in it.

    Without the provider's keys the checks before the signature are made, and those of the times; without the token,
    what its verification said when it was there.
    """
    case = reading.case
    if case.token:
        return _undecoded(case.token) or _unverified(reading) or _wrong_key(reading)
    if case.token_verdict.get("verdict") == "failed":
        members = case.token_verdict
        told = {name: str(members.get(name) or "") for name in ("step", "where", "expected", "found")}
        told["step"] = told["step"] or "token.truncated"  # bytes that are no token fail before the first step
        return Fault(**told)
    if case.claims:
        return _times(reading) or _wrong_key(reading)
    return None


def _undecoded(token: bytes) -> Fault | None:
    from skrkit.token.decode import decode_jwt

    try:
        decode_jwt(token.strip())
    except ParseError as error:
        return Fault(step="token.truncated", where=error.where, expected=error.expected, found=error.found)
    return None


def _unverified(reading: Reading) -> Fault | None:
    from skrkit.token.jwks import Jwks

    authority = reading.case.authority or _issuer(reading)
    keys = reading.jwks if reading.jwks is not None else Jwks(keys=(), raw=b"")
    fault = _fault_at(reading, keys, authority)
    if fault is not None and fault.step == "token.kid" and not keys.keys:
        return _times(reading)  # whether the key is published is not known
    return fault


def _fault_at(reading: Reading, keys: Jwks, authority: str) -> Fault | None:
    from skrkit.token.verify import verify_token

    assert reading.token is not None, "asked for a token that decodes"
    at = reading.case.at or moment_of(reading.claims.get("iat"))  # without a time, all but the times is checked
    if at is None:
        return None
    try:
        verify_token(reading.token, jwks=keys, issuer=authority, now=at)
    except VerificationError as error:
        return Fault(step=error.step, where=error.where, expected=error.expected, found=error.found)
    except SkrkitError:  # a provider that is no https URL, a time without a zone: nothing to verify with
        return None
    return None


def _issuer(reading: Reading) -> str:
    issuer = reading.claims.get("iss")
    return issuer if isinstance(issuer, str) else ""


def _times(reading: Reading) -> Fault | None:
    at = reading.case.at
    if at is None or at.tzinfo is None:
        return None
    for name in ("nbf", "iat"):
        moment = moment_of(reading.claims.get(name))
        if moment is not None and moment > at + SKEW:
            return Fault(
                step="token.times",
                where=f"claims /{name}",
                expected=f"{at.isoformat()} or before",
                found=moment.isoformat(),
            )
    expires = moment_of(reading.claims.get("exp"))
    if expires is not None and at >= expires + SKEW:
        return Fault(
            step="token.times",
            where="claims /exp",
            expected=f"after {at.isoformat()}",
            found=f"{expires.isoformat()}, expired",
        )
    return None


def moment_of(value: Json) -> datetime | None:
    """Return seconds since 1970 as a time; None for what is none."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 33:
        return datetime.fromtimestamp(value, UTC)
    return None


def _wrong_key(reading: Reading) -> Fault | None:
    """Return that the token has no key to wrap for, or another than this vTPM's."""
    keys = reading.part(reading.claims, "x-ms-runtime", "keys")
    usable = [key for key in keys if _is_transfer_key(key)] if isinstance(keys, list) else []
    if not usable:
        return Fault(
            step="token.transfer_key",
            where="/x-ms-runtime/keys",
            expected="an RSA key for encryption",
            found=f"{len(keys)} keys, none of them one" if isinstance(keys, list) and keys else "no key",
        )
    own, claimed = _own_modulus(reading), _modulus(usable[0])
    if own and claimed and own != claimed:
        return Fault(
            step="token.transfer_key",
            where="/x-ms-runtime/keys/0/n",
            expected="the modulus of the key certified in this vTPM",
            found="another modulus",
        )
    return None


def _is_transfer_key(key: Json) -> bool:
    if not isinstance(key, dict) or key.get("kty") != "RSA":
        return False
    operations = key.get("key_ops")
    return "enc" in (key.get("key_use"), key.get("use")) or (isinstance(operations, list) and "encrypt" in operations)


def _own_modulus(reading: Reading) -> int:
    from skrkit.tpm.public import parse_public

    try:
        return parse_public(reading.case.evidence.get("key-public", b"")).rsa_numbers()[0]
    except SkrkitError:
        return 0


def _modulus(key: Json) -> int:
    from skrkit.encoding import b64url_bytes

    try:
        text = str(key.get("n") or "") if isinstance(key, dict) else ""
        return int.from_bytes(b64url_bytes(text, what="transfer key n", where="/n"), "big")
    except SkrkitError:
        return 0


def _named(reading: Reading, fault: Fault, certainty: Certainty) -> Iterator[Finding]:
    """Return the cause of a fault, where the rest of the case tells apart what fails the same step."""
    cause = _CAUSE_OF_STEP.get(fault.step, "token.envelope" if fault.step.startswith("envelope.") else "")
    if fault.step == "token.times":
        yield from _of_times(reading, fault, certainty)
        return
    refine = {"token.alg": _algorithm, "token.issuer": _foreign, "token.transfer_key": _key_cause}.get(fault.step)
    evidence: tuple[str, ...] = (f"step {fault.step}",)
    if refine is not None:
        cause, told = refine(reading, fault)
        evidence += told
    yield _found(reading, cause or "token.signature", fault, certainty, evidence)


def _found(reading: Reading, cause: str, fault: Fault, certainty: Certainty, evidence: tuple[str, ...]) -> Finding:
    return reading.find(
        cause, certainty, expected=fault.expected, found=fault.found, where=fault.where, evidence=evidence
    )


def _algorithm(reading: Reading, fault: Fault) -> tuple[str, tuple[str, ...]]:
    algorithm = str(reading.header.get("alg") or fault.found.strip("'\""))
    return "token.algorithm-none" if algorithm.lower() == "none" else "token.algorithm-confusion", ()


def _foreign(reading: Reading, _fault: Fault) -> tuple[str, tuple[str, ...]]:
    """Return whether a token of another provider is signed by the configured one's keys: then only iss tells."""
    issuer = _issuer(reading)
    if reading.token is None and reading.case.token_verdict.get("signed_by_authority") is True:
        return "token.other-tenant", ("A key of the configured provider signed it.",)
    if reading.token is None or reading.jwks is None or not issuer:
        return "token.other-authority", ()
    other = _fault_at(reading, reading.jwks, issuer)
    if other is None or other.step in ("token.times", "token.lifetime"):
        return "token.other-tenant", ("A key of the configured provider signed it.",)
    return "token.other-authority", (f"With the configured provider's keys it fails at {other.step}.",)


def _key_cause(reading: Reading, fault: Fault) -> tuple[str, tuple[str, ...]]:
    keys = reading.part(reading.claims, "x-ms-runtime", "keys")
    usable = [key for key in keys if _is_transfer_key(key)] if isinstance(keys, list) else []
    if reading.claims:
        return ("token.other-vm" if usable else "token.no-transfer-key"), ()
    return ("token.no-transfer-key" if fault.where.endswith("/kid") else "token.other-vm"), ()


def _of_times(reading: Reading, fault: Fault, certainty: Certainty) -> Iterator[Finding]:
    """Return whose clock is wrong: this machine's, where the services' own time is known and differs."""
    at, theirs = reading.case.at, reading.service_time or moment_of(reading.case.access_token.get("iat"))
    future = not fault.where.endswith("/exp")
    if at is not None and theirs is not None and abs(at - theirs) > SKEW and _good_at(reading.claims, theirs):
        yield reading.find(
            "machine.clock-skew",
            "proved",
            expected=f"{theirs.isoformat()}, by the services' own answers",
            found=f"{at.isoformat()}, this machine's clock",
            where="this machine's clock",
            evidence=("At the service's time the token is valid.", f"step {fault.step}"),
        )
        return
    cause = "token.not-yet-valid" if future else "token.expired"
    yield _found(reading, cause, fault, certainty, (f"step {fault.step}",))
    if theirs is None:
        found = f"{at.isoformat()}" if at is not None else "a time that is not known"
        yield reading.find("machine.clock-skew", "possible", expected="the services' time", found=found)


def _good_at(claims: Mapping[str, Json], moment: datetime) -> bool:
    starts = [moment_of(claims.get(name)) for name in ("nbf", "iat")]
    expires = moment_of(claims.get("exp"))
    begun = all(start is None or start <= moment + SKEW for start in starts)
    return begun and expires is not None and moment < expires + SKEW
