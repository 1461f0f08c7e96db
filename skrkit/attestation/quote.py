"""Steps (7) and (8): the TPM quote against the attestation key, nonce and PCRs; the event log against the PCRs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skrkit.attestation.reference import Evidence
from skrkit.attestation.result import Run
from skrkit.errors import ParseError, SkrkitError
from skrkit.evidence.runtime import AK_KID, RuntimeClaims
from skrkit.wire import where

if TYPE_CHECKING:
    from skrkit.tpm.attest import Attest

MIN_AK_BITS = 2048
FIRMWARE_PCRS = range(8)  # the log has all that went into them; others are extended later, by who writes no log
RAW_SIGNATURE_BYTES = 256
_AK_FIX = "Quote with the key at 0x81000003 of the same VM, and pass the report that the VM has now."
AkNumbers = tuple[int, int]


def check_quote(run: Run, evidence: Evidence, claims: RuntimeClaims | None) -> None:
    """Add the quote's steps. Without a quote there are none: the notes say what is not shown then."""
    if evidence.quote is None:
        _note_missing_quote(run, evidence)
        return
    attest = _parse_quote(run, evidence.quote)
    if attest is None:
        return
    numbers = _attestation_key(run, evidence, claims)
    holds = _check_signature(run, evidence, numbers)
    _check_nonce(run, evidence, attest)
    _check_pcr_digest(run, evidence, attest, signed=holds)


def _note_missing_quote(run: Run, evidence: Evidence) -> None:
    if evidence.nonce is not None and evidence.hcl is not None:
        run.skip("quote.nonce", "a nonce was given, but no quote that could hold it")
    if evidence.quote_signature is not None or evidence.ak is not None:
        run.skip("quote.parse", "a quote's signature or key was given, but no quote")
    if evidence.hcl is not None:
        run.notes.append(
            "No quote was given: that this VM exists now, and its PCRs, are not shown, only that it once existed."
        )


def _parse_quote(run: Run, data: bytes) -> Attest | None:
    from skrkit.tpm.attest import MAGIC, parse_attest

    try:
        attest = parse_attest(data)
    except ParseError as error:
        run.error("quote.parse" if data.startswith(MAGIC) else "quote.magic_TCG", error)
        return None
    run.ok("quote.magic_TCG")
    if not attest.is_quote:
        run.fail(
            "quote.parse",
            where=where(4, 2),
            expected="0x8018 (quote)",
            found=f"0x{attest.type:04x} ({attest.type.name.lower()})",
            fix="Pass what TPM2_Quote made; this attests a key.",
        )
        return None
    run.ok("quote.parse", f"{len(data)} bytes")
    return attest


def _attestation_key(run: Run, evidence: Evidence, claims: RuntimeClaims | None) -> AkNumbers | None:
    """Return modulus and exponent of the attestation key, having said where it comes from."""
    bound: AkNumbers | None = None
    try:
        if claims is not None:
            bound = claims.key(AK_KID).public_numbers()
        given = bound if evidence.ak is None else parse_ak(evidence.ak)
    except ParseError as error:
        run.error("quote.ak", error)
        return None
    if given is None:
        run.skip("quote.ak", "no attestation key was given, and there are no runtime claims to take it from")
        return None
    if given[0].bit_length() < MIN_AK_BITS or given[1] < 3 or not given[1] & 1 or not given[0] & 1:
        run.fail(
            "quote.ak",
            where="the attestation key",
            expected=f"an RSA key of {MIN_AK_BITS} bits or more, an odd exponent of 3 or more",
            found=f"{given[0].bit_length()} bits, exponent {given[1]}",
            fix=_AK_FIX,
        )
        return None
    run.ok("quote.ak", AK_KID if evidence.ak is None else "given")
    if bound is None:
        run.skip("quote.ak_eq_runtime_claims", "there are no runtime claims: nothing binds this key to the report")
    elif failed := run.first_failed(("hcl.report_data_eq_hash_of_variable_data",)):
        run.skip("quote.ak_eq_runtime_claims", f"{failed} failed: the claims are not the report's")
    else:
        run.check(
            "quote.ak_eq_runtime_claims",
            given == bound,
            detail="the same key",
            where="the runtime claims, HCLAkPub",
            expected=f"modulus {given[0] >> given[0].bit_length() - 64:x}..., that of the key given",
            found=f"modulus {bound[0] >> max(bound[0].bit_length() - 64, 0):x}...",
            fix=_AK_FIX,
        )
    return given


def parse_ak(data: bytes) -> AkNumbers:
    """Return modulus and exponent of a PEM or DER SubjectPublicKeyInfo, a TPM2B_PUBLIC or a TPMT_PUBLIC.

    Raises `ParseError`: anything else, or a key that is not RSA.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_public_key

    from skrkit.tpm.public import parse_public

    is_pem = data.lstrip().startswith(b"-----BEGIN")
    if not is_pem and data[:1] != b"\x30":
        return parse_public(data).rsa_numbers()
    try:
        key = load_pem_public_key(data) if is_pem else load_der_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as cause:
        key, found = None, str(cause).split("\n")[0]
    else:
        found = type(key).__name__
    if not isinstance(key, rsa.RSAPublicKey):
        raise ParseError(
            what="attestation key",
            where=where(0, len(data)),
            expected="an RSA public key",
            found=found,
            fix="Pass the key as tpm2_readpublic writes it: PEM, DER or TPM2B_PUBLIC.",
        )
    numbers = key.public_numbers()
    return numbers.n, numbers.e


def _check_signature(run: Run, evidence: Evidence, numbers: AkNumbers | None) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding, rsa

    step = "quote.signature_by_ak"
    if evidence.quote_signature is None or numbers is None:
        run.skip(step, "no signature was given" if evidence.quote_signature is None else "there is no usable key")
        return False
    assert evidence.quote is not None, "the caller has looked"
    try:
        signature = signature_bytes(evidence.quote_signature)
        key = rsa.RSAPublicNumbers(n=numbers[0], e=numbers[1]).public_key()
        key.verify(signature, evidence.quote, padding.PKCS1v15(), hashes.SHA256())
    except ParseError as error:
        run.error(step, error)
        return False
    except (InvalidSignature, ValueError):
        run.fail(
            step,
            where="the quote's signature",
            expected="RSASSA-PKCS1-v1_5 with SHA-256 over the quote, by the attestation key",
            found="a signature that this key did not make over these bytes",
            fix=_AK_FIX,
        )
        return False
    run.ok(step, "RSASSA-PKCS1-v1_5 with SHA-256")
    return True


def signature_bytes(data: bytes) -> bytes:
    """Return the raw RSASSA signature: `data` itself if it is 256 bytes, else what a TPMT_SIGNATURE holds.

    Raises `ParseError`: another size or structure, another scheme or hash than RSASSA with SHA-256.
    """
    from skrkit.tpm.algorithms import Alg
    from skrkit.tpm.signature import parse_signature

    if len(data) == RAW_SIGNATURE_BYTES:
        return data
    parsed = parse_signature(data)
    if parsed.alg is not Alg.RSASSA or parsed.hash is not Alg.SHA256:
        raise ParseError(
            what="TPMT_SIGNATURE scheme",
            where=where(0, 4),
            expected="rsassa with sha256",
            found=f"{parsed.alg.name.lower()} with {parsed.hash.name.lower()}",
            fix="Quote with the scheme of Azure's attestation key.",
        )
    return parsed.rsa_bytes()


def _check_nonce(run: Run, evidence: Evidence, attest: Attest) -> None:
    if evidence.nonce is None:
        run.notes.append("No nonce was given: the quote may be an old one." if attest.extra_data else _REPLAYABLE)
        return
    if failed := run.first_failed(("quote.signature_by_ak",)):
        run.skip("quote.nonce", f"{failed} failed")
        return
    run.check(
        "quote.nonce",
        attest.extra_data == evidence.nonce,
        detail=f"{len(evidence.nonce)} bytes",
        where="the quote, extraData",
        expected=evidence.nonce.hex() or "no bytes",
        found=attest.extra_data.hex() or "no bytes: the quote was made without a nonce",
        fix="Make a fresh quote over the nonce that you chose.",
    )


_REPLAYABLE = "The quote has no nonce in it (extraData is empty): anyone may show it again."


def _check_pcr_digest(run: Run, evidence: Evidence, attest: Attest, *, signed: bool) -> None:
    from skrkit.tpm.pcr import pcr_digest

    step = "quote.pcr_digest"
    if not signed or evidence.pcrs is None:
        run.skip(step, "the quote's signature does not hold" if not signed else "no PCR values were given")
        return
    try:
        chosen = [selection for selection in attest.pcr_select if selection.pcrs]
        if len(chosen) != 1:
            run.fail(
                step,
                where="the quote, pcrSelect",
                expected="PCRs of one bank",
                found=f"PCRs of {len(chosen)} banks",
                fix="Quote PCRs of the SHA-256 bank only.",
            )
            return
        digest = pcr_digest(evidence.pcrs, chosen[0])
    except SkrkitError as error:
        run.error(step, error)
        return
    run.check(
        step,
        digest == attest.pcr_digest,
        detail=f"PCRs {_ranges(chosen[0].pcrs)}",
        where="the quote, pcrDigest",
        expected=f"SHA-256 over the PCR values given, {digest.hex()}",
        found=attest.pcr_digest.hex(),
        fix="Read the PCRs and make the quote at the same moment; these values are of another one.",
    )


def _ranges(pcrs: tuple[int, ...]) -> str:
    return ", ".join(map(str, pcrs)) if len(pcrs) < 10 else f"{pcrs[0]} to {pcrs[-1]}, {len(pcrs)} of them"


def check_event_log(run: Run, evidence: Evidence) -> None:
    """Add the event log's steps: it replays to the PCR values given, and its payloads are what was measured."""
    if evidence.event_log is None:
        return
    from skrkit.evidence.eventlog import parse_event_log

    replay = "eventlog.replay_eq_pcrs"
    try:
        log = parse_event_log(evidence.event_log)
        replayed = log.replay("sha256")
    except SkrkitError as error:
        run.error("eventlog.parse", error)
        return
    run.ok("eventlog.parse", f"{len(log.events)} events")
    if evidence.pcrs is None:
        run.skip(replay, "no PCR values were given")
    elif failed := run.first_failed(("quote.signature_by_ak", "quote.pcr_digest")):
        run.skip(replay, f"{failed} failed: the PCR values are not what the TPM attests")
    else:
        _compare_pcrs(run, replay, replayed, dict(evidence.pcrs))
        if evidence.quote is None:
            run.notes.append("No quote signs the PCR values that the event log was held against.")
    _check_payloads(
        run, [(found.index, found.detail) for found in log.payload_findings() if found.verdict == "differs"]
    )


def _compare_pcrs(run: Run, step: str, replayed: dict[int, bytes], pcrs: dict[int, bytes]) -> None:
    common = sorted(index for index in pcrs if index in replayed or index in FIRMWARE_PCRS)
    replayed = dict.fromkeys(common, bytes(32)) | replayed  # a log without its events does not lead to a PCR's value
    if not common:
        run.skip(step, "the log and the values given have no PCR in common")
        return
    other = [index for index in common if replayed[index] != pcrs[index]]
    run.check(
        step,
        not other,
        detail=f"PCRs {_ranges(tuple(common))}",
        where=", ".join(f"PCR {index}" for index in other),
        expected="the value that the log replays to: " + ", ".join(replayed[index].hex() for index in other),
        found=", ".join(pcrs[index].hex() for index in other),
        fix="The log is of another boot, is incomplete, or was changed.",
    )


def _check_payloads(run: Run, differing: list[tuple[int, str]]) -> None:
    run.check(
        "eventlog.payloads",
        not differing,
        where=", ".join(f"event {index}" for index, _ in differing),
        expected="payloads that hash to the measured digests, where the event's type says how",
        found="; ".join(detail for _, detail in differing),
        fix="Do not believe the payload of this event: it is not what was measured.",
    )
