"""The faults that a Managed HSM has too: each refuses a release that was good, in the HSM's words, and is mended."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import hashes

from skrkit.encoding import b64url_bytes
from skrkit.sandbox.faults.table import fault_named
from tests.sandbox.hsm.azure import HsmAzure
from tests.sandbox.vault.attested import POLICY, claims, encoded, token, unwrapped
from tests.sandbox.vault.azure import error_of


@pytest.fixture
def releasing(azure: HsmAzure) -> HsmAzure:
    """A Managed HSM with one key that can be released."""
    body = {"kty": "RSA-HSM", "attributes": {"exportable": True}, "release_policy": {"data": encoded(POLICY)}}
    assert azure.hsm("POST", "/keys/k/create", body).status_code == 200
    return azure


def refused(azure: HsmAzure) -> str:
    """Return status and message of a release that is asked for, or nothing where it is granted."""
    answer = azure.hsm("POST", "/keys/k/release", {"target": token(azure, claims(azure))})
    if answer.status_code == 200:
        assert unwrapped(answer.json()["value"], hashes.SHA1()).key_size == 2048
        return ""
    status, _, _, message = error_of(answer)
    assert message.endswith(f"(Activity ID: {answer.headers['x-ms-request-id']})")
    return f"{status} {message.rpartition(' (Activity ID')[0]}"


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("key.disabled", "403 Operation release is not allowed on a disabled key"),
        ("key.not-exportable", "403 Operation release is not permitted on this key"),
        ("key.not-found", "404 A key with (name/id) k was not found in this key vault."),
        ("key.deleted", "404 A key with (name/id) k was not found in this key vault."),
        ("policy.missing-prefix", "403 Target environment attestation does not meet key release policy requirements"),
        ("policy.authority-typo", "403 Target environment attestation does not meet key release policy requirements"),
        ("network.vault-unavailable", "503 The service is temporarily unavailable"),
    ],
)
def test_a_fault_refuses_the_release_until_it_is_off(releasing: HsmAzure, fault: str, words: str) -> None:
    assert refused(releasing) == ""
    releasing.world.faults.switch_on(releasing.world, fault_named(fault))
    assert refused(releasing).startswith(words)
    releasing.world.faults.switch_off(releasing.world, fault_named(fault))
    assert refused(releasing) == ""


def test_a_spoilt_policy_is_written_as_the_hsm_writes_it(releasing: HsmAzure) -> None:
    releasing.world.faults.switch_on(releasing.world, fault_named("policy.missing-prefix"))
    data = releasing.hsm("GET", "/keys/k").json()["release_policy"]["data"]
    text = b64url_bytes(data, what="data", where="/").decode()
    assert text.startswith('{"anyOf":[{"allOf":[{"claim":"x-ms-')
    assert text.endswith('"version":"1.0.0"}')
