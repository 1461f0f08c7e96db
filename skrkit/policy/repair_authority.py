"""The edit that makes a clause apply to a token's issuer: the authority spelt right, or one more authority."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import SequenceMatcher

from skrkit.policy.lint_authority import host_of
from skrkit.policy.model import AuthorityClause, issuer_form
from skrkit.policy.repair_edit import Edit
from skrkit.token.providers import is_maa_host, is_microsofts
from skrkit.wire import Json

_ALIKE = 0.9  # a letter or two of a host name


def authority_mends(clause: AuthorityClause, claims: Mapping[str, Json]) -> list[Edit] | None:
    """Return no edit for a clause that applies, one that makes it apply, or None when the claims have no issuer.

    An authority that is the issuer but for its spelling is corrected. Otherwise a copy of the clause is added for the
    issuer, and the clause stays: whoever released before still does. It is safe for the providers that Microsoft runs.
    """
    issuer = claims.get("iss")
    if not isinstance(issuer, str) or not host_of(issuer) or not issuer.isascii() or not issuer.isprintable():
        return None
    if clause.issuer == issuer_form(issuer):
        return []
    if _same_place(clause.authority, issuer) or _misspelt(clause.authority, issuer):
        return [_corrected(clause, issuer)]
    return [_added(clause, issuer)]


def _same_place(authority: str, issuer: str) -> bool:
    """Return whether both name one provider, so that only scheme, slashes or white space differ.

    A provider of Azure Attestation is its host; another service may have a tenant each in a path or at a port.
    """
    host = _host(authority)
    if is_maa_host(host):
        return host == host_of(issuer)
    return _plain(authority) == _plain(issuer)


def _plain(url: str) -> str:
    return issuer_form("".join(url.split()).rstrip("/")).rpartition("://")[2]


def _host(authority: str) -> str:
    return host_of(authority) or authority.strip().partition("/")[0].lower()


def _misspelt(authority: str, issuer: str) -> bool:
    """Return whether the authority can only be a slip for the issuer: it is no provider itself, the issuer is."""
    host = _host(authority)
    if is_microsofts(host) or not is_microsofts(host_of(issuer)):
        return False
    if is_maa_host(host) and not host.startswith("shared"):
        return False  # a provider of somebody's own, whose attestation policy may be stricter
    return SequenceMatcher(None, host, host_of(issuer)).ratio() >= _ALIKE


def _corrected(clause: AuthorityClause, issuer: str) -> Edit:
    safe = issuer.startswith("https://")
    why = "It names the same provider, as its tokens do." if safe else "An issuer without https can be anybody."
    if _misspelt(clause.authority, issuer) and not _same_place(clause.authority, issuer):
        why = "No provider has the name that is written, and the issuer is the provider of Microsoft's nearest to it."
    return Edit(
        kind="authority",
        pointer=f"{clause.pointer}/authority",
        before=clause.authority,
        after=issuer,
        safe=safe,
        why=why,
    )


def _added(clause: AuthorityClause, issuer: str) -> Edit:
    host = host_of(issuer)
    safe = issuer.startswith("https://") and is_microsofts(host)
    why = (
        f"{host} is a shared provider of Microsoft's: it vouches for the same as the other regions'."
        if safe
        else f"{host} is not one of Microsoft's providers: whoever runs it decides what its claims say."
    )
    added: dict[str, Json] = {**clause.document(), "authority": issuer}
    return Edit(kind="add authority", pointer="/anyOf/-", before=None, after=added, safe=safe, why=why)
