"""The claims catalogue against the captured token: every claim known, of the documented type, and recomputed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from skrkit.token.catalogue import TEE, catalogue, explain_claim
from skrkit.token.claim_fact import ONLY_MAA, ClaimFact, ClaimType
from skrkit.token.decode import decode_jwt
from skrkit.wire import Json, pointer

CAPTURE = "maa-token-and-akv-release"


def captured(captures: Path) -> dict[str, Json]:
    return decode_jwt((captures / CAPTURE / "maa-token.jwt").read_bytes()).claims


def nodes(value: Json, at: str = "") -> Iterator[tuple[str, Json]]:
    """Every named member, objects and arrays too; array elements are passed through."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, inner in items:
        place = at + pointer(step)
        if isinstance(value, dict):
            yield place, inner
        yield from nodes(inner, place)


def test_every_claim_of_the_captured_token_is_known_and_of_its_type(captures: Path) -> None:
    seen = dict(nodes(captured(captures)))
    assert len(seen) > 70
    for place, value in seen.items():
        fact = explain_claim(place)
        assert fact is not None, place
        assert fact.allows(value), (place, value, fact.type)


def test_report_data_is_the_hash_of_the_runtime_claims_as_the_paravisor_wrote_them(captures: Path) -> None:
    tee = captured(captures)[TEE]
    assert isinstance(tee, dict)
    runtime = tee["x-ms-runtime"]
    assert isinstance(runtime, dict)
    keys = runtime["keys"]
    assert isinstance(keys, list)
    ordered = {
        "keys": [{name: key[name] for name in ("kid", "key_ops", "kty", "e", "n")} for key in keys],  # type: ignore[index,call-overload]  # JSON
        "vm-configuration": runtime["vm-configuration"],
    }
    digest = hashlib.sha256(json.dumps(ordered, separators=(",", ":")).encode()).hexdigest()
    assert tee["x-ms-sevsnpvm-reportdata"] == digest + "0" * 64


def test_what_else_the_captured_token_says_twice(captures: Path) -> None:
    claims = captured(captures)
    assert claims["exp"] == int(str(claims["iat"])) + 28800
    assert claims["nbf"] == claims["iat"]
    tee = claims[TEE]
    assert isinstance(tee, dict)
    runtime = tee["x-ms-runtime"]
    assert isinstance(runtime, dict)
    configuration = runtime["vm-configuration"]
    assert isinstance(configuration, dict)
    assert claims["x-ms-azurevm-vmid"] == configuration["vmUniqueId"]


def test_both_ways_of_naming_a_claim() -> None:
    by_path = explain_claim(f"{TEE}.x-ms-sevsnpvm-vmpl")
    assert by_path is not None
    assert by_path == explain_claim(f"/{TEE}/x-ms-sevsnpvm-vmpl") == explain_claim("x-ms-sevsnpvm-vmpl")
    assert "0x30" in by_path.evidence
    kid = explain_claim("/x-ms-runtime/keys/0/kid")
    assert kid is not None
    assert kid.path == "x-ms-runtime.keys.kid"
    payload = explain_claim("/x-ms-runtime/client-payload/my.nonce")
    assert payload is not None
    assert payload.type is ClaimType.ANY


@pytest.mark.parametrize(
    "path", ["", "/", "x", "X-MS-VER", "x-ms-runtime.other", f"{TEE}.secureboot", f"{TEE}.x", "x-ms-sevsnpvm-vmpl.x"]
)
def test_an_unknown_claim_is_none(path: str) -> None:
    assert explain_claim(path) is None


def test_the_table_is_whole() -> None:
    facts = list(catalogue())
    paths = [fact.path for fact in facts]
    assert len(set(paths)) == len(paths)
    for fact in facts:
        assert fact.meaning.endswith("."), fact.path
        assert fact.evidence, fact.path
        assert (fact.hex_digits == 0) or fact.type is ClaimType.HEX, fact.path
    by_path = {fact.path: fact for fact in facts}
    assert by_path["x-ms-compliance-status"].evidence == ONLY_MAA
    assert by_path["x-ms-policy-hash"].evidence == ONLY_MAA
    # the offsets once more, as AMD 56860 table "ATTESTATION_REPORT" has them
    for name, offset in {
        "guestsvn": "0x04", "is-debuggable": "0x08", "familyId": "0x10", "imageId": "0x20", "vmpl": "0x30",
        "reportdata": "0x50", "launchmeasurement": "0x90", "hostdata": "0xC0", "idkeydigest": "0xE0",
        "authorkeydigest": "0x110", "reportid": "0x140", "snpfw-svn": "0x180",
    }.items():  # fmt: skip
        assert f" {offset}," in by_path[f"x-ms-sevsnpvm-{name}"].evidence


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (ClaimType.STRING, "a", 1),
        (ClaimType.INTEGER, 1, True),
        (ClaimType.BOOLEAN, True, 1),
        (ClaimType.OBJECT, {}, []),
        (ClaimType.ARRAY, [], {}),
        (ClaimType.HEX, "00ff", "00fg"),
        (ClaimType.GUID, "6506B531-1634-431E-99D2-42B7D3414AD0", "6506B531"),
    ],
)
def test_types(kind: ClaimType, good: Json, bad: Json) -> None:
    fact = ClaimFact("a", kind, "b")
    assert fact.allows(good)
    assert not fact.allows(bad)
    assert not ClaimFact("a", ClaimType.HEX, "b", "c", 6).allows("00ff")
