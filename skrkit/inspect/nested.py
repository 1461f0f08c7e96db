"""What stands inside an artefact as a document of its own: a policy in a release, certificates in a THIM answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

from skrkit.errors import SkrkitError
from skrkit.wire import Described, walk

if TYPE_CHECKING:
    from skrkit.inspect.recognise import Recognised

MAX_NESTED = 16  # a release has a key_hsm, a policy and three certificates; a bound on what a crafted file can cost


def nested_in(described: Described) -> tuple[tuple[str, Recognised | SkrkitError], ...]:
    """Return what stands inside an artefact, by JSON pointer into its fields: parsed, or the error that says why not.

    What an artefact's own parser has already decoded is among its fields and not here.
    """
    inside = _READERS.get(described.kind)
    if inside is None:
        return ()
    from skrkit.inspect.recognise import recognise

    found: list[tuple[str, Recognised | SkrkitError]] = []
    for at, data in islice(inside(described), MAX_NESTED):
        try:
            found.append((at, recognise(data)))
        except SkrkitError as error:
            found.append((at, error))
    return tuple(found)


def _hardware_report(described: Described) -> Iterator[tuple[str, bytes]]:
    """Return the signed report inside an HCL report: SNP or TDX; others are not read."""
    from skrkit.evidence.hcl import HclReport, ReportType

    assert isinstance(described, HclReport)
    if described.report_type is ReportType.SNP:
        yield "/hardware_report", described.hardware_report
    elif described.report_type is ReportType.TDX:
        yield "/hardware_report", described.td_report().raw


def _texts(described: Described) -> Iterator[tuple[str, bytes]]:
    """Return the members of a release, a THIM answer or a token that are documents of their own."""
    for at, value in walk(described.fields()):
        steps = at.split("/")
        named = steps[-1] in ("vcekCert", "certificateChain") or steps[-2:] == ["release_policy", "data"]
        if (named or steps[-2:-1] == ["x5c"]) and isinstance(value, str) and value:
            yield at, value.encode("utf-8", "surrogatepass")


def _veks(described: Described) -> Iterator[tuple[str, bytes]]:
    """Return the chip certificates of a chain: their AMD extensions are more than X.509 shows."""
    from skrkit.inspect.binary import is_vek
    from skrkit.inspect.certificate import CertificateList

    assert isinstance(described, CertificateList)
    for index, certificate in enumerate(described.certificates):
        if is_vek(certificate.raw):
            yield f"/certificates/{index}", certificate.raw


_READERS: dict[str, Callable[[Described], Iterator[tuple[str, bytes]]]] = {
    "hcl-report": _hardware_report,
    "release-response": _texts,
    "thim": _texts,
    "jwt": _texts,
    "certificates": _veks,
}
