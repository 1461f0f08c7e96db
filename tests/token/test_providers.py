"""The table of shared providers."""

from __future__ import annotations

import pytest

from skrkit.token.providers import (
    SHARED_PROVIDERS,
    is_maa_host,
    is_microsofts,
    is_shared_provider,
    shared_provider_host,
)


def test_table_is_whole() -> None:
    assert len(SHARED_PROVIDERS) == 59
    assert len(set(SHARED_PROVIDERS.values())) == 59


def test_host_follows_from_the_region() -> None:
    assert shared_provider_host("westeurope") == "sharedweu.weu.attest.azure.net"
    assert shared_provider_host("mars") is None


@pytest.mark.parametrize("region", sorted(SHARED_PROVIDERS))
def test_every_host_is_known(region: str) -> None:
    host = shared_provider_host(region)
    assert host is not None
    assert is_shared_provider(host)


@pytest.mark.parametrize(
    "host",
    [
        "sharedweu.neu.attest.azure.net",
        "weu.weu.attest.azure.net",
        "shared.attest.azure.net",
        "sharedweu.weu.test.attest.azure.net",
        "sharedweu.weu.attest.azure.net.example.com",
        "",
    ],
)
def test_another_host_is_not(host: str) -> None:
    assert not is_shared_provider(host)


@pytest.mark.parametrize(
    ("host", "maa", "microsofts"),
    [
        ("sharedweu.weu.attest.azure.net", True, True),
        ("shareduga.uga.attest.azure.us", True, True),
        ("mine.weu.attest.azure.net", True, False),
        ("sharedbjb.bjb.attest.azure.cn", True, False),
        ("sharedweu.weu.attest.azure.com", False, False),
        ("attest.azure.net", False, False),
        ("attest.azure.net.example.com", False, False),
    ],
)
def test_whose_provider_it_is(host: str, maa: bool, microsofts: bool) -> None:
    assert is_maa_host(host) is maa
    assert is_microsofts(host) is microsofts
