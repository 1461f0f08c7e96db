"""What the vTPM keeps, what it forgets at a reset, and what the platform's side of it does."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from skrkit.sandbox.vtpm import Vtpm, VtpmState
from tests.sandbox.vtpm import raw
from tests.sandbox.vtpm.corpus_keys import EPHEMERAL
from tests.sandbox.vtpm.raw import AK, b2, command, create_primary, n, password, selection

PLATFORM_INDEX = 0x42060004
HCL_REPORT = 0x01400001


def started() -> Vtpm:
    vtpm = Vtpm(VtpmState.fresh())
    vtpm.startup(clear=True)
    return vtpm


def modulus(vtpm: Vtpm, hierarchy: int, template: bytes = EPHEMERAL) -> bytes:
    response = vtpm.transceive(create_primary(hierarchy, template))
    assert raw.code_of(response) == 0
    vtpm.transceive(command(0x165, [], response[10:14]))
    size = int.from_bytes(response[18:20], "big")
    return response[20 + size - 256 : 20 + size]


def again(vtpm: Vtpm) -> Vtpm:
    """Return the vTPM of another process: its document, through JSON text."""
    return Vtpm(VtpmState.from_document(json.loads(json.dumps(vtpm._core.state.to_document()))))


@pytest.mark.parametrize("hierarchy", [raw.OWNER, raw.ENDORSEMENT, raw.PLATFORM, raw.NULL])
def test_the_same_template_gives_the_same_key_until_a_reset_of_the_null_hierarchy(hierarchy: int) -> None:
    vtpm = started()
    first = modulus(vtpm, hierarchy)
    assert modulus(vtpm, hierarchy) == first
    assert modulus(again(vtpm), hierarchy) == first
    vtpm.startup(clear=True)
    assert (modulus(vtpm, hierarchy) == first) == (hierarchy != raw.NULL)


def test_other_templates_and_hierarchies_give_other_keys() -> None:
    vtpm = started()
    moduli = {modulus(vtpm, each) for each in (raw.OWNER, raw.ENDORSEMENT, raw.PLATFORM, raw.NULL)}
    moduli.add(modulus(vtpm, raw.OWNER, raw.rsa_template(raw.EPHEMERAL_ATTRIBUTES, policy=bytes(32))))
    assert len(moduli) == 5


def test_a_killed_sandbox_s_machine_goes_on_where_it_was() -> None:
    vtpm = started()
    vtpm.extend(0, {"sha1": bytes(20), "sha256": bytes(32), "sha384": bytes(48)})
    vtpm.platform_nv_define(HCL_REPORT, 2600, PLATFORM_INDEX)
    vtpm.platform_nv_write(HCL_REPORT, b"HCLA")
    ak = vtpm.create_ak()
    other = again(vtpm)
    assert other.transceive(command(0x17E, [], selection(0))) == vtpm.transceive(command(0x17E, [], selection(0)))
    assert other.nv_data(HCL_REPORT) == b"HCLA" + bytes(2596)
    assert other.create_ak() == ak
    response = other.transceive(command(0x173, [0x81000003]))
    assert response[10 : 10 + len(ak)] == ak


def test_a_document_of_another_version_is_refused() -> None:
    document = VtpmState.fresh().to_document() | {"version": 2}
    with pytest.raises(ValueError, match="version 2, this is 1"):
        VtpmState.from_document(document)


def test_dirty_says_what_changed_the_kept_state() -> None:
    vtpm = started()
    vtpm.dirty = False
    for harmless in (command(0x17E, [], selection(0)), command(0x17B, [], n(2, 8)), create_primary(raw.LOCKOUT, AK)):
        vtpm.transceive(harmless)
    assert not vtpm.dirty
    vtpm.transceive(command(0x182, [0], n(4, 1) + n(2, raw.SHA256) + bytes(32), [password()]))
    assert vtpm.dirty


def test_the_attestation_key_is_azure_s_template_and_signs() -> None:
    vtpm = started()
    public = vtpm.create_ak()
    assert public[:24].hex() == "01180001000b00050472000000100014000b080000000000"
    assert int.from_bytes(public[-256:], "big") == vtpm.ak_public_key().public_numbers().n
    response = vtpm.transceive(
        command(0x158, [0x81000003], b2(b"nonce") + raw.NULL_ALG + selection(*range(8)), [password()])
    )
    size = int.from_bytes(response[14:16], "big")
    attest, signature = response[16 : 16 + size], response[16 + size + 6 : 16 + size + 262]
    vtpm.ak_public_key().verify(signature, attest, padding.PKCS1v15(), hashes.SHA256())
    assert attest[-32:] == hashlib.sha256(bytes(256)).digest()
    assert len(attest) == 113 + 5


def test_the_endorsement_key_is_the_tcg_s_template() -> None:
    vtpm = started()
    public = vtpm.create_ek()
    assert public[2:50].hex() == (
        "0001000b000300b20020837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa000600800043"
    )
    assert int.from_bytes(public[-256:], "big") == vtpm.ek_public_key().public_numbers().n


def test_no_attestation_key_before_it_is_made() -> None:
    with pytest.raises(LookupError, match="0x81000003"):
        started().ak_private_key()


def test_the_paravisor_hears_of_a_read_before_its_data_is_taken_and_not_of_a_refused_one() -> None:
    heard: list[tuple[int, int]] = []

    def on_nv_read(index: int, offset: int) -> None:
        heard.append((index, offset))
        vtpm.platform_nv_write(index, b"fresh")

    vtpm = Vtpm(VtpmState.fresh(), on_nv_read=on_nv_read)
    vtpm.startup(clear=True)
    vtpm.platform_nv_define(HCL_REPORT, 2600, PLATFORM_INDEX)
    vtpm.platform_nv_write(HCL_REPORT, b"stale")
    read = command(0x14E, [raw.OWNER, HCL_REPORT], n(2, 5) + n(2, 0), [password()])
    assert vtpm.transceive(read)[16:21] == b"fresh"
    wrong = command(0x14E, [raw.OWNER, HCL_REPORT], n(2, 5) + n(2, 0), [password(b"x")])
    assert raw.code_of(vtpm.transceive(wrong)) == 0x9A2
    assert heard == [(HCL_REPORT, 0)]


def test_the_guest_cannot_write_or_remove_the_platform_s_index() -> None:
    vtpm = started()
    vtpm.platform_nv_define(HCL_REPORT, 2600, PLATFORM_INDEX)
    vtpm.platform_nv_write(HCL_REPORT, b"report")
    write = command(0x137, [raw.OWNER, HCL_REPORT], b2(b"forged") + n(2, 0), [password()])
    by_value = command(0x137, [HCL_REPORT, HCL_REPORT], b2(b"forged") + n(2, 0), [password()])
    remove = command(0x122, [raw.OWNER, HCL_REPORT], b"", [password()])
    assert [raw.code_of(vtpm.transceive(each)) for each in (write, by_value, remove)] == [0x149, 0x9A2, 0x149]
    assert vtpm.nv_data(HCL_REPORT) == b"report" + bytes(2594)


def test_pcrs_are_reset_by_a_reboot_and_not_by_a_resume() -> None:
    vtpm = started()
    vtpm.extend(4, {"sha256": b"\1" * 32})
    extended = vtpm.pcr(4)
    assert extended == hashlib.sha256(bytes(32) + b"\1" * 32).digest()
    vtpm.startup(clear=False)
    assert vtpm.pcr(4) == extended
    vtpm.startup(clear=True)
    assert vtpm.pcr(4) == bytes(32)


@pytest.mark.parametrize(("pcr", "digests"), [(24, {}), (-1, {}), (0, {"sha256": bytes(20)})])
def test_the_platform_s_mistakes_are_said(pcr: int, digests: dict[str, bytes]) -> None:
    with pytest.raises(ValueError, match=r"PCR|digest of 20 bytes"):
        started().extend(pcr, digests)


def test_sessions_and_objects_do_not_outlive_a_reset() -> None:
    vtpm = started()
    assert raw.code_of(vtpm.transceive(create_primary(raw.NULL, EPHEMERAL))) == 0
    saved = vtpm.transceive(command(0x162, [0x80000000]))
    vtpm.startup(clear=True)
    assert raw.code_of(vtpm.transceive(command(0x173, [0x80000000]))) == 0x910
    assert raw.code_of(vtpm.transceive(command(0x161, [], saved[10:]))) == 0x1DF


def test_secrets_have_no_repr() -> None:
    vtpm = started()
    vtpm.create_ak()
    state = vtpm._core.state
    text = repr(state) + repr(replace(state))
    for secret in (
        *state.seeds.values(),
        *state.primaries.values(),
        *(key.private for key in state.persistent.values()),
    ):
        assert repr(secret)[2:40] not in text
