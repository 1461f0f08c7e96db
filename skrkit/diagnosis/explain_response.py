"""The response leg: what the client does not take of the vault's answer. Each failed step is a cause."""

from __future__ import annotations

from collections.abc import Iterator

from skrkit.diagnosis.finding import Finding
from skrkit.diagnosis.reading import Reading

_CAUSE_OF_STEP = {
    "release.alg": "response.signature",
    "release.header": "response.signature",
    "release.signature": "response.signature",
    "release.x5c": "response.chain",
    "release.x5t": "response.chain",
    "release.x5t_s256": "response.chain",
    "release.chain": "response.chain",
    "release.ca": "response.chain",
    "release.critical": "response.chain",
    "release.validity": "response.chain",
    "release.root": "response.chain",
    "release.host": "response.host",
    "release.nonce": "response.nonce",
    "release.kid": "response.other-key",
    "release.enc": "response.enc",
    "release.kek": "response.transfer-key",
    "release.transfer_key": "response.transfer-key",
    "release.unwrap": "response.ciphertext",
    "release.public_key": "response.key-substituted",
    "release.proof": "response.key-substituted",
}


def recognise(reading: Reading) -> Iterator[Finding]:
    """Return the cause of the step that failed, which the client saw itself; or that the answer could not be read."""
    error, step = reading.refusal.error, reading.refusal.step
    if not step:
        yield from _malformed(reading)
        return
    yield reading.find(
        _CAUSE_OF_STEP.get(step, "response.malformed"),
        "proved",
        expected=str(error.get("expected") or ""),
        found=str(error.get("found") or "")[:300],
        where=str(error.get("where") or ""),
        evidence=(f"step {step}",),
    )
    if step == "release.kek":  # another hash would look the same
        yield reading.find("response.enc", "possible", expected="the hash that enc names", found=f"step {step} fails")


def _malformed(reading: Reading) -> Iterator[Finding]:
    """Return that a 200 held no release response, where the client could not read it."""
    error = reading.refusal.error
    what = str(error.get("what") or "")
    cause = "response.ciphertext" if "ciphertext" in what or "key_hsm" in what else "response.malformed"
    yield reading.find(
        cause,
        "likely",
        expected=str(error.get("expected") or ""),
        found=str(error.get("found") or "")[:300],
        where=str(error.get("where") or ""),
    )
