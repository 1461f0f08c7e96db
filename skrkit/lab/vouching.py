"""Who vouches for whom, from the AMD root to the released key: each link with the checks that hold it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from skrkit.attestation.result import AttestationResult
from skrkit.errors import UsageError
from skrkit.lab.display import Display, text_of
from skrkit.release.flow import Released
from skrkit.release.response import VerifiedRelease
from skrkit.render.html import box, details, heading, steps, text, verdict
from skrkit.render.view import Step, Steps, Verdict, View
from skrkit.token.verify import VerifiedToken


class Link(NamedTuple):
    """One link: who vouches, for what, by which means, and the step ids (or beginnings of them) that check it."""

    voucher: str
    vouched: str
    means: str
    checks: tuple[str, ...]


EVIDENCE = (
    Link("you", "AMD root key (ARK)", "its digest is pinned: known beforehand", ("chain.root_", "chain.parse")),
    Link("AMD root key (ARK)", "AMD intermediate (ASK)", "a certificate", ("chain.intermediate_",)),
    Link("AMD intermediate (ASK)", "chip key (VCEK)", "a certificate", ("chain.vek_", "vek.")),
    Link(
        "chip key (VCEK)",
        "SNP report",
        "a signature, and the same chip and firmware level in both",
        ("report.", "bind.", "tcb.", "version."),
    ),
    Link(
        "SNP report",
        "runtime claims, with the attestation key",
        "their SHA-256 in REPORT_DATA",
        ("hcl.", "report.nonce", "tdx."),
    ),
    Link("attestation key of the vTPM", "quote", "a signature over PCR digest and nonce", ("quote.",)),
    Link("quote", "event log: what was booted", "replayed, it gives the PCR values quoted", ("eventlog.",)),
    Link(
        "reference values",
        "this state of the VM",
        "compared: no debugging, VMPL 0, levels asked for",
        ("appraise.", "report.debug_off", "report.migrat", "report.no_migration", "report.vmpl_0"),
    ),
)
RELEASE = (
    Link(
        "trusted root certificate",
        "the vault's signing certificate",
        "a chain of certificates, with the vault's name",
        (
            "release.x5c",
            "release.x5t",
            "release.chain",
            "release.ca",
            "release.validity",
            "release.root",
            "release.host",
        ),
    ),
    Link("the vault's signing certificate", "answer to the release", "a signature", ("release.",)),
    Link("vTPM key named in the token", "released key", "the key is wrapped for it alone", ()),
)


def trust_chain(
    result: AttestationResult,
    release: VerifiedRelease | Released | None = None,
    *,
    token: VerifiedToken | None = None,
) -> Display:
    """Return a display of who vouches for whom, each link ok, failed or not checked, its checks folded under it.

    `result` is a local verification. With `token` and `release`, verified ones, the chain goes on to the released key,
    whose own link is ok only for a `Released`, which holds the proof. Raises `UsageError` for anything else.
    """
    if not isinstance(result, AttestationResult):
        raise _usage("result", "the result of verify_evidence", result, "world.attested.local")
    if release is not None and not isinstance(release, VerifiedRelease | Released):
        raise _usage("release", "a verified release", release, "world.released.answer")
    found = _links(EVIDENCE, [Step(s.id, s.verdict, s.detail, s.error.fix if s.error else "") for s in result.steps])
    found.append(_token_link(token))
    if release is not None:
        found += _release_links(release)
    root = f"root: {result.root or 'none'}"
    items = "".join(_item(link, worst, checks) for link, worst, checks in found)
    html = box(heading("Who vouches for whom", (root,)) + f"<ol>{items}</ol>")
    blocks = tuple(Steps(title=_title(link), steps=(_summary(link, worst, checks),)) for link, worst, checks in found)
    return Display(text_of(View(heading="Who vouches for whom", facts=(root,), blocks=blocks)), html)


def _usage(name: str, expected: str, found: object, fix: str) -> UsageError:
    kind = type(found).__name__
    return UsageError(what="trust chain", where=f"argument `{name}`", expected=expected, found=kind, fix=fix)


def link_of(step_id: str, links: Sequence[Link]) -> Link | None:
    """Return the link that a step checks: the one with the longest beginning of the id; None if there is none."""
    fitting = [(len(start), link) for link in links for start in link.checks if step_id.startswith(start)]
    return max(fitting, key=lambda each: each[0])[1] if fitting else None


def _links(links: Sequence[Link], checked: Iterable[Step]) -> list[tuple[Link, Verdict, tuple[Step, ...]]]:
    by_link: dict[Link, list[Step]] = {link: [] for link in links}
    for step in checked:
        link = link_of(step.id, links)
        if link is not None:
            by_link[link].append(step)
    return [(link, worst_of(checks), tuple(checks)) for link, checks in by_link.items()]


def worst_of(checks: Iterable[Step]) -> Verdict:
    """Return what a link's checks amount to: failed beats not checked, and no check at all is not checked."""
    verdicts = {step.verdict for step in checks}
    if "failed" in verdicts:
        return "failed"
    return "not-checked" if "not-checked" in verdicts or not verdicts else "ok"


def _token_link(token: VerifiedToken | None) -> tuple[Link, Verdict, tuple[Step, ...]]:
    link = Link("Azure Attestation (MAA)", "attestation token", "a signature, by a key it publishes", ())
    if token is None:
        step = Step("token.signature", "not-checked", "no token was given to this view", "trust_chain(…, token=token)")
        return link, "not-checked", (step,)
    detail = f"key {token.key_id} of {token.issuer}, at {token.verified_at:%Y-%m-%d %H:%M:%S} UTC"
    return link, "ok", (Step("token.signature", "ok", detail),)


def _release_links(release: VerifiedRelease | Released) -> list[tuple[Link, Verdict, tuple[Step, ...]]]:
    answer = release.answer if isinstance(release, Released) else release
    found = _links(RELEASE, [Step(step.id, step.verdict, step.detail) for step in answer.steps])
    link = found[-1][0]
    if isinstance(release, Released):
        found[-1] = (link, "ok", (Step("release.proof", "ok", release.proof.operation),))
    else:
        detail = f"wrapped for {answer.key_hsm.kid}; only unwrapping and using it is a proof, and this view has none"
        step = Step("release.proof", "not-checked", detail, "trust_chain(result, world.released)")
        found[-1] = (link, "not-checked", (step,))
    return found


def _title(link: Link) -> str:
    return f"{link.voucher} → {link.vouched}"


def _count(checks: Sequence[Step]) -> str:
    bad = sum(step.verdict != "ok" for step in checks)
    total = f"{len(checks)} check{'' if len(checks) == 1 else 's'}"
    return f"{total}, {bad} not ok" if bad else total


def _summary(link: Link, worst: Verdict, checks: Sequence[Step]) -> Step:
    first = next((step for step in checks if step.verdict == worst and worst != "ok"), None)
    detail = f"{_count(checks)}" + (f"; {first.id}: {first.detail}" if first else "")
    return Step(id=link.means, verdict=worst, detail=detail, fix=first.fix if first else "")


def _item(link: Link, worst: Verdict, checks: Sequence[Step]) -> str:
    said = f"{verdict(worst)} <strong>{text(link.voucher)}</strong> → <strong>{text(link.vouched)}</strong>"
    if not checks:
        return f"<li>{said}<br>{text(link.means)} — no check of this kind was part of the run</li>"
    folded = details(_count(checks), steps(checks), is_open=worst == "failed")
    return f"<li>{said}<br>{text(link.means)}{folded}</li>"
