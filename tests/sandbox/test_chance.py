"""A seed and a clock: the same sandbox each time, valid keys that OpenSSL did not choose, and clear words about it."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from math import gcd
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384

from skrkit.cloud import Cloud
from skrkit.errors import UsageError
from skrkit.provision.stage import Stage
from skrkit.sandbox import chance, client, keygen, process
from skrkit.sandbox.cast import ensure_cast
from skrkit.sandbox.chance import Asked, Chance, asked
from skrkit.sandbox.endpoint import STATE_FILE, Endpoint
from skrkit.sandbox.store import Store
from skrkit.sandbox.vtpm.state import VtpmState
from skrkit.walkthrough import Walk
from tests.sandbox import running

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
LESSON = Asked(seed="lesson", clock=NOON)
DRAWN_BY_OPENSSL = {
    "certificates", "maa-request", "platform-maa-request", "sealed-envelope", "release-response", "key-hsm",
    "ciphertext-split",
}  # fmt: skip
CURVES = (ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1(), ec.SECP256K1())


@pytest.fixture
def lesson(monkeypatch: pytest.MonkeyPatch) -> Chance:
    """This process draws from a seed, as the process of a seeded sandbox does."""
    seeded = Chance(asked=LESSON, epoch="sandbox 1")
    monkeypatch.setattr(chance, "_chance", seeded)
    return seeded


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path / STATE_FILE)
    yield made
    made.close()


class TestStream:
    def test_is_what_openssl_makes_of_seed_and_label(self) -> None:
        r"""printf 'sandbox 1\0chip/id\0001' | openssl dgst -sha256 -hmac lesson -binary | openssl dgst -shake256"""
        drawn = Chance(asked=LESSON, epoch="sandbox 1").token_bytes("chip/id", 24)
        assert drawn.hex() == "a767f6762216572540701ffd8a772ac429b149f36c40c1b9"

    def test_each_draw_is_another_one(self) -> None:
        one = Chance(asked=LESSON)
        drawn = [one.token_bytes(label, 16) for label in ("a", "a", "b")]
        drawn += [
            Chance(asked=LESSON, epoch="2").token_bytes("a", 16),
            Chance(asked=Asked(seed="x")).token_bytes("a", 16),
        ]
        assert len(set(drawn)) == len(drawn)

    def test_threads_in_any_order_draw_the_same(self) -> None:
        def run(labels: list[str]) -> dict[str, list[bytes]]:
            source = Chance(asked=LESSON)
            drawn: dict[str, list[bytes]] = {label: [] for label in labels}

            def draw(label: str) -> None:
                drawn[label] += [source.token_bytes(label, 8) for _ in range(200)]

            threads = [threading.Thread(target=draw, args=(label,)) for label in labels]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            return drawn

        assert run(["a", "b", "c", "d"]) == run(["d", "b", "c", "a"])

    def test_without_a_seed_it_is_the_systems(self) -> None:
        assert not chance.seeded()
        assert not chance.has_clock()
        assert chance.token_bytes("a", 16) != Chance().token_bytes("a", 16) != chance.token_bytes("a", 16)
        assert abs(chance.utc_now() - datetime.now(UTC)) < timedelta(minutes=1)
        assert chance.monotonic() <= time.monotonic()

    def test_guids_are_random_ones(self, lesson: Chance) -> None:
        drawn = [chance.uuid4("vm") for _ in range(50)]
        assert len(set(drawn)) == 50
        assert {(each[14], each[19] in "89ab", each.lower()) for each in drawn} == {("4", True, each) for each in drawn}

    def test_the_clock_stands_still(self, lesson: Chance) -> None:
        assert chance.utc_now() == chance.utc_now() == NOON
        assert chance.monotonic() == 0
        assert VtpmState.fresh().clock_ms() == 0


def probably_prime(number: int) -> bool:
    """Miller and Rabin's test in Python's own arithmetic: a stranger to the OpenSSL that the search asks."""
    twos = (number - 1 & 1 - number).bit_length() - 1
    odd = number - 1 >> twos
    for base in (2, 3, 5, 7, 11, 13, 17, 19):
        power = pow(base, odd, number)
        if power in (1, number - 1):
            continue
        for _ in range(twos - 1):
            power = power * power % number
            if power == number - 1:
                break
        else:
            return False
    return True


class TestKeys:
    @pytest.mark.parametrize(("bits", "exponent"), [(2048, 65537), (2048, 3), (3072, 65537), (4096, 65537)])
    def test_rsa(self, lesson: Chance, bits: int, exponent: int) -> None:
        key = keygen.rsa_key("a", bits, exponent)
        numbers = key.private_numbers()
        assert key.key_size == bits
        assert numbers.public_numbers.e == exponent
        assert probably_prime(numbers.p)
        assert probably_prime(numbers.q)
        assert abs(numbers.p - numbers.q).bit_length() > bits // 2 - 100  # FIPS 186-5 A.1.3
        assert numbers.private_key().key_size == bits  # with OpenSSL's check of all its numbers
        key.public_key().verify(key.sign(b"x", padding.PKCS1v15(), SHA256()), b"x", padding.PKCS1v15(), SHA256())

    def test_the_same_label_gives_the_same_keys(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def keys() -> list[int]:
            monkeypatch.setattr(chance, "_chance", Chance(asked=LESSON))
            modulus = [keygen.rsa_key(label, 2048).public_key().public_numbers().n for label in ("a", "a", "b")]
            points = [keygen.ec_key("a", curve).public_key().public_numbers().x for curve in CURVES]
            return [*modulus, *points, keygen.serial_number("a"), keygen.serial_number("a")]

        first = keys()
        assert len(set(first)) == len(first)
        assert first == keys()

    def test_without_a_seed_keys_are_openssls(self) -> None:
        assert keygen.ec_key("a", CURVES[0]).private_numbers() != keygen.ec_key("a", CURVES[0]).private_numbers()
        assert keygen.rsa_key("a", 2048).private_numbers() != keygen.rsa_key("a", 2048).private_numbers()

    @pytest.mark.parametrize("curve", CURVES, ids=lambda curve: curve.name)
    def test_ec(self, lesson: Chance, curve: ec.EllipticCurve) -> None:
        key = keygen.ec_key("a", curve)
        key.public_key().verify(key.sign(b"x", keygen.ecdsa(SHA384())), b"x", ec.ECDSA(SHA384()))

    def test_a_number_is_prime_for_openssl_when_it_is(self, lesson: Chance) -> None:
        """Of the numbers of Mersenne: 1279 gives a prime, 1277 a composite of which no factor is known."""
        assert keygen._is_prime(2**1279 - 1, 65537)
        assert not keygen._is_prime(2**1277 - 1, 65537)
        assert not keygen._is_prime((2**521 - 1) * (2**607 - 1), 65537)

    def test_only_what_a_small_prime_divides_is_passed_over(self) -> None:
        start = random.Random(7).getrandbits(1024) | 1 << 1023 | 1
        left = list(keygen._candidates(start))
        small = 1
        for number in range(3, keygen._SIEVE_TO, 2):
            small *= number
        numbers = range(start, start + 20 * 1024, 2)
        assert left == [number for number in numbers if gcd(number, small) == 1]

    def test_signatures_are_rfc_6979s(self, lesson: Chance) -> None:
        """The key and the signature of RFC 6979 A.2.5: P-256, SHA-256, message "sample"."""
        key = ec.derive_private_key(0xC9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721, ec.SECP256R1())
        r, s = decode_dss_signature(key.sign(b"sample", keygen.ecdsa(SHA256())))
        assert f"{r:064X}" == "EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716"
        assert f"{s:064X}" == "F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8"

    def test_without_a_seed_signatures_are_random(self) -> None:
        key = keygen.ec_key("a", ec.SECP256R1())
        assert key.sign(b"x", keygen.ecdsa(SHA256())) != key.sign(b"x", keygen.ecdsa(SHA256()))
        with pytest.raises(InvalidSignature):
            key.public_key().verify(key.sign(b"x", keygen.ecdsa(SHA256())), b"y", ec.ECDSA(SHA256()))


class TestAsked:
    def test_by_argument_by_environment_or_not_at_all(self) -> None:
        env = {"SKRKIT_SEED": "theirs", "SKRKIT_CLOCK": "2026-06-01T14:00:00+02:00"}
        assert asked(environment={}) == Asked()
        assert asked(environment=env) == Asked(seed="theirs", clock=NOON)
        assert asked("mine", "2026-06-01T12:00:00Z", environment=env) == Asked(seed="mine", clock=NOON)
        assert asked("", "", environment=env) == Asked()
        assert asked(environment=env).clock_text == "2026-06-01T12:00:00Z"

    @pytest.mark.parametrize(
        "clock",
        [
            "noon",
            "2026-06-01",
            "2026-06-01T12:00:00",
            "1999-12-31T23:59:59Z",
            "2100-01-01T00:00:00Z",
            "9999-99-99",
            "-1",
        ],
    )
    def test_a_clock_that_is_none(self, clock: str) -> None:
        with pytest.raises(UsageError) as refused:
            asked(clock=clock)
        assert refused.value.expected == "an instant with its offset from UTC, 2001 to 2098"
        assert refused.value.found == repr(clock)
        assert refused.value.fix == "SKRKIT_CLOCK=2026-01-01T12:00:00Z skrkit sandbox up"
        assert refused.value.source == "RFC 3339 section 5.6"

    @pytest.mark.parametrize("seed", ["x" * 201, "two\nlines", "\0"])
    def test_a_seed_that_is_none(self, seed: str) -> None:
        with pytest.raises(UsageError, match="at most 200 characters that print"):
            asked(seed=seed)


@pytest.fixture
def _restored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chance, "_chance", Chance())  # what `settle` sets goes back to what it was


@pytest.mark.usefixtures("_restored")
class TestSettle:
    def test_a_restart_goes_on_with_both_and_draws_anew(self, store: Store) -> None:
        drawn = []
        for wanted in (LESSON, Asked(), Asked(clock=NOON)):
            assert chance.settle(store, wanted) == LESSON
            drawn.append(chance.token_bytes("a", 16))
            assert chance.utc_now() == NOON
        assert len(set(drawn)) == 3
        again = [Chance(asked=LESSON, epoch=f"sandbox {start}").token_bytes("a", 16) for start in (1, 2, 3)]
        assert again == drawn

    @pytest.mark.parametrize(
        ("made", "wanted", "said"),
        [
            (
                LESSON,
                Asked(seed="other"),
                "seed of the sandbox at {}: expected 'lesson', which it was made with, found 'other'",
            ),
            (
                LESSON,
                Asked(clock=NOON + timedelta(seconds=1)),
                "clock of the sandbox at {}: expected '2026-06-01T12:00:00Z', which it was made with, found '2026-0",
            ),
            (
                Asked(),
                LESSON,
                "seed of the sandbox at {}: expected no --seed: it was made without a seed, found 'lesson'",
            ),
        ],
    )
    def test_another_seed_or_clock_is_refused(self, store: Store, made: Asked, wanted: Asked, said: str) -> None:
        chance.settle(store, made)
        with pytest.raises(UsageError) as refused:
            chance.settle(store, wanted)
        assert str(refused.value).startswith(said.format(store.path))
        assert "skrkit sandbox reset --yes" in refused.value.fix
        assert chance.settle(store, Asked()) == made  # and nothing has changed

    def test_a_sandbox_of_a_version_without_seeds_has_none(self, store: Store) -> None:
        ensure_cast(store, NOON)
        with pytest.raises(UsageError, match="it was made without a seed"):
            chance.settle(store, LESSON)
        assert chance.settle(store, Asked()) == Asked()
        assert not chance.seeded()


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A state folder of one test's own. What runs there is ended."""
    yield tmp_path / "home"
    process.down(tmp_path / "home")


def said_of(endpoint: Endpoint) -> tuple[str, ...]:
    return (
        endpoint.tenant,
        endpoint.subscription,
        endpoint.client_id,
        endpoint.operator_oid,
        endpoint.seed,
        endpoint.clock,
    )


class TestProcess:
    def test_the_same_again_after_a_reset_and_the_same_one_after_a_kill(self, home: Path) -> None:
        first = process.up(home, seed="lesson", clock="2026-06-01T12:00:00Z")
        roots = Cloud.sandbox(home=home).amd_roots()
        os.kill(first.pid, signal.SIGKILL)
        second = process.up(home)
        assert second.pid != first.pid
        assert said_of(second) == said_of(first)
        assert Cloud.sandbox(home=home).now() == NOON
        process.reset(home)
        third = process.up(home, seed="lesson", clock="2026-06-01T12:00:00Z")
        assert said_of(third) == said_of(first)
        assert Cloud.sandbox(home=home).amd_roots() == roots
        assert third.secret != first.secret  # it opens the process to whoever knows it, and is no lesson
        assert third.client_secret != first.client_secret

    def test_another_seed_is_refused_whether_it_runs_or_not(self, home: Path) -> None:
        assert running.skrkit(home, "sandbox", "up", SKRKIT_SEED="lesson").returncode == 0
        said = "error: seed of the sandbox at {}\n  expected: 'lesson', which it was made with\n  found: 'other'\n"
        said += "  fix: skrkit sandbox reset --yes   and then up with --seed, or leave --seed out\n"
        for _ in range(2):
            refused = running.skrkit(home, "sandbox", "up", "--seed", "other")
            assert (refused.returncode, refused.stderr) == (2, said.format(home))
            process.down(home)
        assert running.skrkit(home, "sandbox", "up").returncode == 0

    def test_status_says_what_it_is_for(self, home: Path) -> None:
        up = running.skrkit(home, "sandbox", "up", "--seed=-x", "--clock", "2026-06-01T12:00:00Z", "--json")
        document = json.loads(up.stdout)
        assert (document["seed"], document["clock"]) == ("-x", "2026-06-01T12:00:00Z")
        status = running.skrkit(home, "sandbox", "status").stdout
        assert (
            "  seeded        from '-x': not for anything but lessons, whoever knows the seed knows every key\n"
            in status
        )
        assert "  clock         stands still at 2026-06-01T12:00:00Z\n" in status
        document = json.loads(running.skrkit(home, "sandbox", "status", "--json").stdout)
        assert (document["seed"], document["clock"]) == ("-x", "2026-06-01T12:00:00Z")
        assert document["uptime_s"] < 3600  # of this computer's time

    def test_an_ordinary_one_says_nothing_of_it(self, home: Path) -> None:
        endpoint = process.up(home)
        assert (endpoint.seed, endpoint.clock) == ("", "")
        status = running.skrkit(home, "sandbox", "status").stdout
        assert "seed" not in status
        assert "clock" not in status


@pytest.mark.parametrize("clock", ["2011-03-04T05:06:07Z", "2088-03-04T05:06:07Z"])
def test_four_steps_at_any_time_make_the_same_artefacts(home: Path, clock: str) -> None:
    """Far from this computer's time: nothing on the way may ask its clock, but TLS, which must."""

    first = walked(home, clock)
    assert first.attested is not None
    token = first.attested.token
    assert token.verified_at == datetime.fromisoformat(clock)
    assert token.claims["iat"] == int(datetime.fromisoformat(clock).timestamp())
    made, again = kept(first), kept(walked(home, clock))
    assert len(made) > 30
    assert [name for name in made if made[name] != again[name]] == []


def walked(home: Path, clock: str) -> Walk:
    """The four steps on a new sandbox, as by a program of its own, whose nonces are drawn from the beginning."""
    client._of_this_program.cache_clear()
    process.reset(home)
    process.up(home, seed="lesson", clock=clock)
    walk = Walk(cloud=Cloud.sandbox(home=home), stage=Stage())
    walk.run()
    client._of_this_program.cache_clear()
    return walk


def kept(walk: Walk) -> dict[str, str]:
    """The artefacts of a walk by name, without those that hold what OpenSSL drew: PSS salts, RSA padding."""
    return {f"{each.step}/{each.name}": repr(each.body) for each in walk.artefacts if each.name not in DRAWN_BY_OPENSSL}
