"""Why a release failed, in a notebook: the causes there are, a refusal explained, the doctor, a bundle, and faults."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from skrkit.errors import SkrkitError, UsageError
from skrkit.lab.display import Display, view_display
from skrkit.lab.session import sandbox_cloud, say

if TYPE_CHECKING:
    from skrkit.cloud import Cloud
    from skrkit.diagnosis.case import Case


def causes(leg: str = "") -> Display:
    """Return a display of the causes of a failed release: of one leg, such as "access", or of all.

    Raises `UsageError` with the legs for another word.
    """
    from skrkit.diagnosis.catalogue import catalogue, causes_of
    from skrkit.diagnosis.cause import Leg
    from skrkit.render.explanation import view_of_catalogue

    legs = {each.value: each for each in Leg}
    if leg and leg not in legs:
        raise UsageError(
            what="leg of a release",
            where="lab.causes()",
            expected=", ".join(legs),
            found=repr(leg)[:80],
            fix='Name one of them, lab.causes("access"), or none: lab.causes()',
        )
    return view_display(view_of_catalogue(causes_of(legs[leg]) if leg else catalogue()))


def explain(what: Case | SkrkitError | None = None) -> Display:
    """Return a display of why a release failed: the cause, its proof, and what mends it.

    `what` is an error that a step raised, or a case; without it step 4 is walked once, now, and what fails is
    explained. An error alone says little: what the walk sees around it is what proves a cause.
    """
    from skrkit.diagnosis.explain import explain as explanation_of
    from skrkit.render.explanation import view_of_explanation

    case = _gathered(sandbox_cloud()) if what is None else _case_of(what)
    return view_display(view_of_explanation(explanation_of(case)))


def _case_of(what: object) -> Case:
    from skrkit.diagnosis.case import Case
    from skrkit.doctor.gather import error_members

    if isinstance(what, Case):
        return what
    if isinstance(what, SkrkitError):
        return Case(error=error_members(what), world="sandbox", faults=sandbox_cloud().read_faults())
    raise UsageError(
        what="thing to explain",
        where="lab.explain()",
        expected="an error that a step raised, a case, or nothing",
        found=type(what).__name__,
        fix="Keep the error: except SkrkitError as refused; then lab.explain(refused).",
    )


def _gathered(cloud: Cloud) -> Case:
    from skrkit.doctor.gather import gather_case
    from skrkit.provision.stage import Stage

    _quieten()
    return gather_case(cloud, Stage())


def doctor() -> Display:
    """Return a display of every check of the doctor, in the sandbox's VM and from its operator's desk."""
    from skrkit.doctor.check import Report, run_checks
    from skrkit.doctor.checks import checks_for
    from skrkit.doctor.host import host_of
    from skrkit.doctor.place import in_sandbox
    from skrkit.doctor.view import view_of_report
    from skrkit.doctor.visit import Names

    sandbox_cloud()
    _quieten()
    with in_sandbox(Names(), "", host_of()) as visit:
        results = run_checks(checks_for(inside=True, outside=True), visit)
    return view_display(view_of_report(Report(results=results, where="the sandbox, from both sides")))


def bundle() -> bytes:
    """Return an evidence bundle of one walk through step 4, as `skrkit bundle create` writes it to a file."""
    from skrkit import __version__
    from skrkit.bundle.live import doctor_report
    from skrkit.bundle.making import make_bundle
    from skrkit.bundle.versions import versions
    from skrkit.provision.stage import Stage

    cloud = sandbox_cloud()
    case = _gathered(cloud)
    report = doctor_report(cloud, Stage())
    return make_bundle(case, now=cloud.now(), skrkit=__version__, versions=versions(), doctor=report)


def replay(data: bytes) -> Display:
    """Return a display of every check and explanation of a bundle, made again now: without a network.

    Raises `ParseError` or `VerificationError` for a bundle that is not whole.
    """
    from skrkit.bundle.bundle import open_bundle
    from skrkit.bundle.replay import replay as replayed
    from skrkit.bundle.views import view_of_replay

    return view_display(view_of_replay(replayed(open_bundle(data))))


@contextmanager
def fault(name: str) -> Iterator[None]:
    """Switch a named fault of the sandbox on for the block, and say what it does; `skrkit sandbox fault --list`.

    What was mended in the block stays mended. Raises `UsageError` with the nearest names for an unknown one.
    """
    from skrkit.sandbox.faults import client

    sandbox_cloud()
    made = client.switch_on(name)
    say(f"On: {made['name']}. {made['does']}")
    try:
        yield
    finally:
        try:
            found = client.switch_off(name)
        except UsageError:  # from a shell, or by a reset
            found = "Somebody switched it off already."
        if not found.startswith(("Put back: ", "It behaves")) or "Left as it is" in found:
            say(f"Off: {name}. {found}")


def _quieten() -> None:
    """Keep the SDKs' own warnings out of the cell: what they warn of is what is explained."""
    import logging

    for name in ("azure", "msal"):
        logging.getLogger(name).addHandler(logging.NullHandler())
