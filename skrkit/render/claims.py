"""What the claims of an attestation token mean, for the rows of its view. Other tokens have claims of other meaning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from skrkit.token.catalogue import TEE, explain_claim
from skrkit.token.claim_fact import ONLY_MAA
from skrkit.wire import Json

NOT_RECOGNISED = "not recognised"
_MARK = "x-ms-attestation-type"  # every token of Azure Attestation has it; an access token has the same iss and exp


def claim_notes(fields: Mapping[str, Json]) -> dict[str, str]:
    """Return the meaning of each claim by its dotted path in a token's fields, or nothing for another kind of token.

    A claim that the catalogue does not know, at the top or below x-ms-isolation-tee, is noted as not recognised.
    What is a conclusion and not documented is marked inferred, as in the catalogue.
    """
    claims = fields.get("claims")
    if not isinstance(claims, dict) or _MARK not in claims:
        return {}
    return {f"claims.{path}": note for path, note in _notes(claims, "", "")}


def _notes(claims: Mapping[str, Json], rows: str, names: str) -> Iterator[tuple[str, str]]:
    """Return notes by row path (with places in arrays), claims being named without them."""
    for name, value in claims.items():
        row, claim = f"{rows}{name}", f"{names}{name}"
        note = _note(claim)
        if note or names in ("", f"{TEE}."):
            yield row, note or NOT_RECOGNISED
        for place, item in enumerate(value) if isinstance(value, list) else ():
            if isinstance(item, dict):
                yield from _notes(item, f"{row}.[{place}].", f"{claim}.")
        if isinstance(value, dict):
            yield from _notes(value, f"{row}.", f"{claim}.")


def _note(claim: str) -> str:
    fact = explain_claim(claim)
    if fact is None:
        return ""
    source = "" if fact.evidence == ONLY_MAA else f" From {fact.evidence}."
    return f"{fact.meaning}{source}{' (inferred)' if fact.inferred else ''}"
