"""The catalogue of causes as Markdown: what `docs/causes.md` and the table of the README are made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from skrkit.diagnosis.cause import Cause, Leg

_LEGS = {
    Leg.MACHINE: "The machine",
    Leg.IDENTITY: "The identity",
    Leg.NETWORK: "The network",
    Leg.EVIDENCE: "The evidence",
    Leg.TOKEN: "The attestation token",
    Leg.ACCESS_TOKEN: "The access token",
    Leg.ACCESS: "Permissions and firewall",
    Leg.KEY: "The key",
    Leg.POLICY: "The release policy",
    Leg.RESPONSE: "The vault's answer",
}

COMMONEST = (  # by what the documents and the forums ask about most, in the order of a release
    "machine.not-a-cvm",
    "identity.none",
    "network.vault-name",
    "evidence.secure-boot-off",
    "token.expired",
    "access-token.wrong-audience",
    "access.release-missing",
    "access.rbac-mode",
    "access.firewall-address",
    "key.not-found",
    "key.not-exportable",
    "policy.missing-prefix",
    "policy.authority-region",
)


def commonest_markdown() -> str:
    """Return a table of the commonest causes: what is said, why, what mends it."""
    from skrkit.diagnosis.catalogue import cause_named

    rows = [
        f"| {_plain(cause.symptom)} | {_cause_cell(cause)} | {_plain(cause.fix)} |"
        for cause in map(cause_named, COMMONEST)
    ]
    return "\n".join(("| what it says | why | what mends it |", "| --- | --- | --- |", *rows)) + "\n"


def _cause_cell(cause: Cause) -> str:
    return f"{_plain(cause.title)} (`{cause.id}`)"


def catalogue_markdown(causes: Iterable[Cause]) -> str:
    """Return a page: a heading for each leg, in the order of a release, and below it each cause with its id."""
    return "\n".join(_lines(causes)) + "\n"


def _lines(causes: Iterable[Cause]) -> Iterator[str]:
    yield "# Why a release fails"
    yield ""
    yield "Written by `skrkit explain --list --markdown` from the catalogue that `skrkit explain` goes by: edit that."
    yield "The causes stand in the order in which a release passes them. Names in braces are yours to fill in."
    leg: Leg | None = None
    for cause in causes:
        if cause.leg is not leg:
            leg = cause.leg
            yield from ("", f"## {_LEGS[leg]}")
        yield from _cause(cause)


def _cause(cause: Cause) -> Iterator[str]:
    yield from ("", f"### {_plain(cause.title)}", "", f"`{cause.id}`: {_plain(cause.why)}", "")
    yield f"- Says: {_plain(cause.symptom)}"
    yield f"- Fix: {_plain(cause.fix)}"
    if cause.command:
        yield f"- Command: `{cause.command}`"
    yield f"- Source: {_plain(cause.source)}" + (" (inferred)" if cause.inferred else "")


def _plain(text: str) -> str:
    """Return a text that Markdown shows as it is: no tags, no emphasis, no placeholders that vanish."""
    for sign in "\\`*_<>[]|":
        text = text.replace(sign, f"\\{sign}")
    return text
