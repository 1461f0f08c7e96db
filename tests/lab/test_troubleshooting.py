"""A refusal explained in a notebook, the doctor, a bundle, and a fault that lasts as long as its block."""

from __future__ import annotations

from pathlib import Path

import pytest

from skrkit import lab
from skrkit.diagnosis.case import Case
from skrkit.errors import ReleaseRefused, SkrkitError, UsageError
from skrkit.sandbox.faults import client


@pytest.fixture
def walked(home: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """The shared sandbox after the four steps."""
    lab.ensure(step=4)
    capsys.readouterr()
    return home


def on(home: Path) -> list[str]:
    return [str(fault["name"]) for fault in client.listed(home=home) if fault["on"]]


def test_the_causes_of_a_leg_and_of_all() -> None:
    key, every = repr(lab.causes("key")), repr(lab.causes())
    assert "key.disabled" in key
    assert "access.release-missing" not in key
    assert {"key.disabled", "access.release-missing", "response.nonce"} <= set(every.split())


def test_another_leg_is_refused_with_the_legs() -> None:
    with pytest.raises(UsageError) as caught:
        lab.causes("keys")
    assert "access-token" in caught.value.expected
    assert caught.value.found == "'keys'"


def test_a_fault_lasts_as_long_as_its_block(walked: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with lab.fault("key.disabled"):
        assert on(walked) == ["key.disabled"]
        assert capsys.readouterr().out.startswith("On: key.disabled. ")
    assert on(walked) == []
    assert capsys.readouterr().out == ""


def test_a_fault_goes_off_when_the_block_is_left_by_an_error(walked: Path) -> None:
    with pytest.raises(ZeroDivisionError), lab.fault("token.expired"):
        raise ZeroDivisionError
    assert on(walked) == []


def test_what_was_mended_in_the_block_is_said_and_stays(walked: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with lab.fault("access.release-missing"):
        lab.ensure(step=2)
    said = " ".join(capsys.readouterr().out.split())
    assert "Off: access.release-missing. Left as it is:" in said
    assert repr(lab.explain()).startswith("Why the release failed: it did not")


def test_a_fault_that_a_shell_switched_off_is_no_error(walked: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with lab.fault("token.expired"):
        client.switch_all_off(home=walked)
    assert "Off: token.expired. Somebody switched it off already." in capsys.readouterr().out


def test_an_unknown_fault_is_refused_with_the_nearest(walked: Path) -> None:
    with pytest.raises(UsageError, match=r"key\.disabled"), lab.fault("key.disable"):
        pass


def test_a_walk_proves_what_an_error_alone_makes_likely(walked: Path) -> None:
    with lab.fault("access.release-missing"):
        live = lab.explain()
    assert "access.release-missing · proved" in repr(live)
    assert "skrkit walkthrough --step 2" in repr(live)
    error = ReleaseRefused(
        what="release of key k",
        where="POST https://v.vault.azure.net/keys/k/release",
        expected="the key",
        found="HTTP 403 Forbidden/AccessDenied: The user, group or application 'appid=1;oid=2;iss=3' does not have "
        "keys release permission on key vault 'v;location=westeurope'.",
        fix="",
    )
    assert "access.release-missing · likely" in repr(lab.explain(error))


def test_a_case_is_explained_as_it_is(walked: Path) -> None:
    assert repr(lab.explain(Case())).startswith("Why the release failed: it did not")


def test_what_is_no_refusal_is_refused(walked: Path) -> None:
    with pytest.raises(UsageError) as caught:
        lab.explain("403")  # type: ignore[arg-type]  # what an attendee may write
    assert (caught.value.where, caught.value.found) == ("lab.explain()", "str")


def test_the_doctor_names_the_fault_and_skips_what_needs_it(walked: Path) -> None:
    healthy = repr(lab.doctor())
    assert "failed" not in healthy.splitlines()[2]
    assert "127.0.0.1" not in healthy
    with lab.fault("network.maa-unreachable"):
        ill = repr(lab.doctor())
    assert "1 failed" in ill
    assert "network.maa-unreachable" in ill
    assert "maa.reachable failed, and this depends on it" in ill


def test_a_bundle_replays_as_recorded_and_a_changed_one_does_not(walked: Path) -> None:
    with lab.fault("policy.letter-case"):
        data = lab.bundle()
    replayed = repr(lab.replay(data))
    assert "as recorded" in replayed.splitlines()[0]
    assert "Why the release failed: policy.letter-case" in replayed
    for changed in (data[:5000], data[:5000] + bytes([data[5000] ^ 1]) + data[5001:]):
        with pytest.raises(SkrkitError) as caught:
            lab.replay(changed)
        assert caught.value.exit_code in (3, 4)
