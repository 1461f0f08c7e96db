"""Whether an authority can be the `iss` of a token of Azure Attestation. Only its text is looked at."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches

from skrkit.policy.lint_rules import Draft
from skrkit.policy.model import issuer_form
from skrkit.token.providers import (
    GOVERNMENT_PROVIDERS,
    PUBLIC_SUFFIX,
    SHARED_PROVIDERS,
    ZONES,
    is_maa_host,
    is_microsofts,
    shared_provider_host,
)

_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<host>[^/?#]*)(?P<rest>.*)", re.DOTALL)
_SHARED = re.compile(r"shared([a-z0-9]+)\.([a-z0-9]+)")
_TEST_RING = ".test.attest.azure.net"


def host_of(authority: str) -> str:
    """Return the host name of an authority in lower case, without a port; empty when it is no URL."""
    found = _URL.fullmatch(authority.strip())
    return "" if found is None else found["host"].rpartition("@")[2].partition(":")[0].lower()


def authority_drafts(authority: str, *, search: bool = True, zone: str = PUBLIC_SUFFIX) -> Iterator[Draft]:
    """Return what is odd about an authority's text, with the text to write instead where it can be told.

    Without `search` no similar spelling of a foreign host is looked for: that takes as long as all the rest. `zone` is
    that of the providers of the cloud that is worked in.
    """
    if authority.split() != [authority]:
        yield Draft("authority.blank", f"{authority!r} has white space in it", "Take the white space out.")
    found = _URL.fullmatch(authority.strip())
    if found is None:
        yield Draft("authority.scheme", f"{authority!r} is no URL", f"Write https://{authority.strip().strip('/')}")
        yield from _host_drafts(authority.strip().partition("/")[0].lower(), search, zone)
        return
    if found["scheme"].lower() != "https":
        what = f"{authority!r} begins with {found['scheme']}://"
        yield Draft("authority.scheme", what, f"Write https://{found['host']}")
    yield from _rest_drafts(authority, found["host"], found["rest"])
    host = host_of(authority)
    if found["host"] != found["host"].lower() or found["scheme"] != found["scheme"].lower():
        yield Draft("authority.case", f"{authority!r} has capital letters", f"Write {issuer_form(authority)}")
    yield from _host_drafts(host, search, zone)


def _rest_drafts(authority: str, host: str, rest: str) -> Iterator[Draft]:
    if "@" in host or ":" in host:
        plain = host.rpartition("@")[2].partition(":")[0]
        yield Draft("authority.port", f"{authority!r} names a user or a port", f"Write https://{plain}")
    path = rest.rstrip("/")
    if path:
        yield Draft("authority.path", f"{authority!r} goes on behind the host: {rest}", f"Write https://{host}")
    elif len(rest) > 1:
        yield Draft("authority.slashes", f"{authority!r} ends in {len(rest)} slashes", f"Write https://{host}")
    elif rest:
        yield Draft("authority.slash", f"{authority!r} ends in a slash", f"Write https://{host}, as in iss.")


def _host_drafts(host: str, search: bool, zone: str) -> Iterator[Draft]:
    if not is_maa_host(host):
        yield _foreign(host, search)
        return
    home = next(suffix for suffix in ZONES if host.endswith(suffix))
    if home != zone:
        yield Draft(
            "authority.sovereign", f"{host} is in {ZONES[home]}", f"Keep it for a vault in {ZONES[home]} alone."
        )
    if is_microsofts(host):
        return
    if host.endswith(_TEST_RING):
        yield Draft("authority.test-ring", f"{host} is a provider of the test ring", "Name the region's own provider.")
    else:
        yield from _other_provider(host, home)


def _foreign(host: str, search: bool) -> Draft:
    near = nearest_provider(host) if search else None
    if near is not None:
        return Draft("authority.zone", f"{host} is not in attest.azure.net", f"Write https://{near}")
    fix = "Name a provider in attest.azure.net, unless you trust this one with the key."
    return Draft("authority.not-maa", f"{host or 'the text'} is no address of Azure Attestation", fix)


def _other_provider(host: str, home: str) -> Iterator[Draft]:
    """Return what there is to say of a host in Azure Attestation's zone that is not one of Microsoft's."""
    name = host.removesuffix(home)
    shared = _SHARED.fullmatch(name)
    if home == PUBLIC_SUFFIX and shared is not None:
        yield _wrong_region(host, shared[1], shared[2])
    elif home == PUBLIC_SUFFIX and name.partition(".")[2] not in SHARED_PROVIDERS.values():
        what = f"{host}: {name.partition('.')[2]!r} is no region's abbreviation that skrkit knows"
        yield Draft("authority.new-region", what, "Take the attestUri of the provider itself.")
    if shared is None:
        what = f"{host} is a provider that somebody made"
        yield Draft("authority.own", what, "See who may write to it; a signed attestation policy holds longer.")


def _wrong_region(host: str, first: str, second: str) -> Draft:
    near = nearest_provider(host)
    told = f"Write https://{near}" if near else "Take the attestUri of your region's shared provider."
    if first == second and near is None:
        return Draft("authority.new-region", f"{host}: {first!r} is no region's abbreviation that skrkit knows", told)
    return Draft("authority.region", f"{host} is none of the shared providers", told)


def nearest_provider(host: str) -> str | None:
    """Return the shared provider that a host name, lower case, was probably meant to be; None for no such guess.

    In this order: a region written out, one of two abbreviations that differ, a similar spelling.
    """
    labels = host.split(".")
    for label in (labels[0].removeprefix("shared"), *labels[1:2]):
        whole = shared_provider_host(label)
        if whole is not None:
            return whole
    hosts = [known for region in SHARED_PROVIDERS if (known := shared_provider_host(region)) is not None]
    for known in hosts:
        if host.startswith("shared") and known.startswith(f"{labels[0]}."):
            return known
    near = get_close_matches(host, [*hosts, *GOVERNMENT_PROVIDERS], n=1, cutoff=0.9)
    return near[0] if near else None
