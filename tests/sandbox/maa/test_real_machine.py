"""A whole guest attestation: the sandbox's machine and MAA, skrkit's TPM client, request and token checks."""

from __future__ import annotations

import json
from typing import Literal

import pytest
from starlette.types import ASGIApp

from skrkit.encoding import b64url
from skrkit.errors import ServiceError
from skrkit.release.ports import CollectedEvidence
from skrkit.sandbox.maa.keys import jwks_of
from skrkit.sandbox.machine import Machine
from skrkit.sandbox.world import World
from skrkit.services.maa import attestation_info, platform_request
from skrkit.token.decode import decode_jwt
from skrkit.token.envelope import open_envelope, parse_sealed_envelope
from skrkit.token.jwks import parse_jwks
from skrkit.token.verify import VerifiedToken, verify_token
from skrkit.tpm.client import Tpm, TransientKey

from .asgi_call import Answer, ask
from .attested import HOST, NOW, VM_ID

PCRS = range(8)
GUEST = f"https://{HOST}/attest/AzureGuest?api-version=2020-10-01"
PLATFORM = f"https://{HOST}/attest/SevSnpVm?api-version=2022-08-01"
RESOURCE = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Compute/virtualMachines/"


class Wire:
    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def transceive(self, command: bytes) -> bytes:
        return self.machine.transceive(command)

    def close(self) -> None:
        """Nothing to close."""


@pytest.fixture
def machine(world: World) -> Machine:
    return world.machines.create(RESOURCE + "cvm", name="cvm", region="westeurope", vm_id=VM_ID, secure_boot=True)


def collect(
    machine: Machine, client: Tpm, *, hierarchy: Literal["null", "owner"] = "null"
) -> tuple[CollectedEvidence, TransientKey]:
    key = client.create_ephemeral_key(PCRS, hierarchy=hierarchy)
    quote, signature = client.quote(0x81000003, PCRS)
    certify, certify_signature = client.certify(key.handle, 0x81000003)
    evidence = CollectedEvidence(
        hcl_report=client.nv_read(0x01400001),
        certificates=machine.thim(),
        ak_certificate=client.nv_read(0x01C101D0),
        ak_public=client.read_public(0x81000003).raw,
        pcrs=client.pcr_read(PCRS),
        quote=quote,
        quote_signature=signature,
        event_log=machine.event_log,
        key_public=key.public.raw,
        key_certify=certify,
        key_certify_signature=certify_signature,
        os_distro="Ubuntu",
        os_version=(24, 4),
    )
    return evidence, key


def attest(app: ASGIApp, evidence: CollectedEvidence) -> Answer:
    info = attestation_info(evidence, {"nonce": "ADE0101"})
    return ask(app, "POST", GUEST, body=json.dumps({"AttestationInfo": b64url(json.dumps(info).encode())}).encode())


def verified(world: World, token: str) -> VerifiedToken:
    jwks = parse_jwks(json.dumps(jwks_of(world, HOST)).encode())
    return verify_token(decode_jwt(token), jwks=jwks, issuer=f"https://{HOST}", now=NOW)


@pytest.mark.parametrize("hierarchy", ["null", "owner"])
def test_guest_attestation(app: ASGIApp, world: World, machine: Machine, hierarchy: Literal["null", "owner"]) -> None:
    client = Tpm(Wire(machine))
    evidence, key = collect(machine, client, hierarchy=hierarchy)
    answer = attest(app, evidence)
    assert answer.status == 200, answer.body

    def in_the_vtpm(ciphertext: bytes) -> bytes:
        return client.rsa_decrypt(key.handle, ciphertext, scheme="rsaes", pcrs=PCRS)

    claims = verified(world, open_envelope(parse_sealed_envelope(answer.body), in_the_vtpm)).claims
    tee = claims["x-ms-isolation-tee"]
    assert isinstance(tee, dict)
    assert tee["x-ms-compliance-status"] == "azure-compliant-cvm"
    assert claims["x-ms-azurevm-vmid"] == VM_ID.upper()
    client.flush(key.handle)


def test_the_envelope_does_not_open_after_a_pcr_has_changed(app: ASGIApp, machine: Machine) -> None:
    client = Tpm(Wire(machine))
    evidence, key = collect(machine, client)
    envelope = parse_sealed_envelope(attest(app, evidence).body)
    client.pcr_extend(7, b"\x01" * 32)
    with pytest.raises(ServiceError):
        client.rsa_decrypt(key.handle, envelope.encrypted_inner_key, scheme="rsaes", pcrs=PCRS)


def test_a_pcr_extended_after_boot_is_refused(app: ASGIApp, machine: Machine) -> None:
    client = Tpm(Wire(machine))
    client.pcr_extend(4, b"\x01" * 32)
    evidence, _ = collect(machine, client)
    answer = attest(app, evidence)
    assert answer.status == 400
    assert "eventlog.replay_eq_pcrs" in answer.json()["error"]["message"]


def test_platform_attestation(app: ASGIApp, world: World, machine: Machine) -> None:
    evidence, _ = collect(machine, Tpm(Wire(machine)))
    answer = ask(app, "POST", PLATFORM, body=json.dumps(platform_request(evidence, "n")).encode())
    assert answer.status == 200, answer.body
    claims = verified(world, answer.json()["token"]).claims
    assert (claims["nonce"], claims["x-ms-compliance-status"]) == ("n", "azure-compliant-cvm")


def test_secure_boot_off_is_denied(app: ASGIApp, world: World) -> None:
    machine = world.machines.create(RESOURCE + "off", name="off", region="neu", vm_id=VM_ID, secure_boot=False)
    evidence, _ = collect(machine, Tpm(Wire(machine)))
    answer = attest(app, evidence)
    assert answer.status == 400
    assert answer.json()["error"]["code"] == "PolicyEvaluationError"


def test_evidence_of_two_machines_does_not_mix(app: ASGIApp, world: World, machine: Machine) -> None:
    import dataclasses

    other = world.machines.create(RESOURCE + "other", name="other", region="neu", vm_id=VM_ID, secure_boot=True)
    mine, _ = collect(machine, Tpm(Wire(machine)))
    theirs, _ = collect(other, Tpm(Wire(other)))
    mixed = dataclasses.replace(mine, hcl_report=theirs.hcl_report, certificates=theirs.certificates)
    answer = attest(app, mixed)
    assert "quote.ak_eq_runtime_claims" in answer.json()["error"]["message"]
