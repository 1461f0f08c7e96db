"""Step (3): from the key that signed the report up to a root that is pinned. Chain files hold anything, in any order.

The right certificates are found by name and signature, never by their place in the file. The signature checks go
upwards and stop at the first that fails; names, dates and constraints are reported each for itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

from skrkit.attestation.reference import Evidence
from skrkit.attestation.result import Run
from skrkit.errors import ParseError
from skrkit.evidence.snp import SnpReport

if TYPE_CHECKING:
    from skrkit.endorsements.certificate import AmdCertificate
    from skrkit.endorsements.roots import TrustRoots
    from skrkit.endorsements.vek import VekCertificate

INTERMEDIATE_STEPS = (
    "chain.intermediate_validity",
    "chain.intermediate_is_ca",
    "chain.intermediate_names",
    "chain.intermediate_signed_by_root",
)
ROOT_STEPS = ("chain.root_self_signed", "chain.root_validity", "chain.root_is_ca", "chain.root_pinned")
SIGNATURE_STEPS = (
    "vek.parse",
    "chain.parse",
    "vek.signature_algorithm",
    "chain.vek_signed_by_intermediate",
    "chain.intermediate_signed_by_root",
    "chain.root_self_signed",
    "chain.root_pinned",
)
T = TypeVar("T")
_VEK_FIX = "Fetch the VCEK of this chip and TCB from AMD's key service or Azure's THIM endpoint."
_CHAIN_FIX = "Pass the chain of this product line, as AMD's key service serves it (vcek or vlek, line, cert_chain)."
_DATES_FIX = "Use a certificate that is valid now, or state the time that the evidence is of."


@dataclass(frozen=True, slots=True, kw_only=True)
class Endorsed:
    """What the certificates came to. `line` is the product line of the pinned root, None where none was reached."""

    vek: VekCertificate | None = None
    line: str | None = None


def check_certificates(
    run: Run, evidence: Evidence, report: SnpReport, *, now: datetime, roots: TrustRoots
) -> Endorsed:
    """Add the steps of the certificates and return what they came to. Source: AMD 57230, VCEK certificate."""
    vek, pool = _gather(run, evidence, report)
    if vek is None:
        why = "vek.parse failed" if run.first_failed(("vek.parse",)) else missing_vek(report)
        run.skip_all(("chain.vek_signed_by_intermediate", *INTERMEDIATE_STEPS, *ROOT_STEPS), why)
        return Endorsed()
    _check_vek(run, vek, report, now)
    issuer = _find_issuer(run, "chain.vek_signed_by_intermediate", vek.amd, pool)
    if issuer is None:
        run.skip_all(INTERMEDIATE_STEPS + ROOT_STEPS, "no certificate is known to have signed the VEK")
        return Endorsed(vek=vek)
    _check_intermediate(run, vek, issuer, now)
    root = _find_issuer(run, "chain.intermediate_signed_by_root", issuer, pool)
    if root is None:
        run.skip_all(ROOT_STEPS, "no certificate is known to have signed the intermediate")
        return Endorsed(vek=vek)
    return Endorsed(vek=vek, line=_check_root(run, root, now, roots))


def _gather(
    run: Run, evidence: Evidence, report: SnpReport
) -> tuple[VekCertificate | None, tuple[AmdCertificate, ...]]:
    """Return the VEK and all the other certificates, having said what is missing or does not parse."""
    from skrkit.endorsements.certificate import parse_amd_certificates
    from skrkit.endorsements.vek import vek_of

    given: tuple[AmdCertificate, ...]
    chain: tuple[AmdCertificate, ...]
    try:
        given = parse_amd_certificates(evidence.vek, what="VEK certificate") if evidence.vek is not None else ()
    except ParseError as error:
        run.error("vek.parse", error)
        return None, ()
    try:
        chain = parse_amd_certificates(evidence.chain, what="chain file") if evidence.chain else ()
    except ParseError as error:
        run.error("chain.parse", error)
        chain = ()
    candidates: tuple[AmdCertificate, ...]
    if evidence.vek is not None and len(given) == 1:
        candidates = given
    else:
        candidates = tuple(item for item in given + chain if item.subject_cn in ("SEV-VCEK", "SEV-VLEK"))
    if not candidates and evidence.vek is not None:
        run.fail(
            "vek.parse",
            where="the VEK file",
            expected=f"a certificate of SEV-{report.signing_key}",
            found=", ".join(item.subject_cn or "(no name)" for item in given),
            fix=_VEK_FIX,
        )
        return None, ()
    if not candidates:
        run.skip("vek.parse", missing_vek(report))
        return None, ()
    try:
        vek = _choose([vek_of(item) for item in candidates], report)
    except ParseError as error:
        run.error("vek.parse", error)
        return None, ()
    pool = tuple(item for item in given + chain if item not in candidates)
    return vek, pool


def missing_vek(report: SnpReport) -> str:
    """Return the words for a VEK that was not given, by the name that KEY_INFO has for it."""
    return f"no {report.signing_key if report.signing_key in ('VCEK', 'VLEK') else 'VEK'} was given"


def _choose(veks: list[VekCertificate], report: SnpReport) -> VekCertificate:
    """Return the VEK that names the report's chip, or the first: the steps say what is wrong with it."""
    for vek in veks:
        if vek.hw_id is not None and report.chip_id.startswith(vek.hw_id):
            return vek
    return veks[0]


def _check_vek(run: Run, vek: VekCertificate, report: SnpReport, now: datetime) -> None:
    amd = vek.amd
    run.ok("vek.parse", f"{vek.signer} of {vek.product_name}")
    run.ok("vek.no_duplicate_amd_extension")
    run.ok("vek.x509_v3")
    place = f"the {vek.signer} certificate"
    run.check(
        "vek.key_p384",
        amd.ec_key() is not None,
        where=place,
        expected="an EC key on P-384",
        found=type(amd.key).__name__,
        fix=_VEK_FIX,
    )
    run.check(
        "vek.signature_algorithm",
        amd.has_amd_algorithm,
        detail="RSASSA-PSS, SHA-384, salt 48",
        where=place,
        expected="RSASSA-PSS with SHA-384, MGF1-SHA-384 and salt 48, said alike in both places",
        found=lambda: amd.outer_algorithm.hex(),
        fix=_VEK_FIX,
    )
    run.check(
        "vek.cn_matches_signing_key",
        vek.signer == report.signing_key,
        detail=f"SEV-{vek.signer}",
        where=f"{place}, subject CN",
        expected=f"SEV-{report.signing_key}, as KEY_INFO of the report says",
        found=amd.subject_cn,
        fix=f"Pass the {report.signing_key} of this report: this is a certificate of the other kind.",
    )
    _check_names(run, "vek.amd_names", amd, place)
    _check_dates(run, "vek.validity", amd, place, now)


def _check_names(run: Run, step: str, amd: AmdCertificate, place: str, *, expected_cn: str | None = None) -> None:
    from skrkit.endorsements.certificate import is_amd_name

    cn_holds = expected_cn is None or amd.subject_cn == expected_cn
    run.check(
        step,
        is_amd_name(amd.subject) and is_amd_name(amd.issuer) and cn_holds,
        detail=amd.subject_cn,
        where=f"{place}, subject and issuer",
        expected=f"AMD's location attributes, each once, and CN {expected_cn or 'of AMD'}",
        found=lambda: f"subject {_name_words(amd.subject)}; issuer {_name_words(amd.issuer)}",
        fix=_CHAIN_FIX,
    )


def _name_words(name: bytes) -> str:
    from skrkit.endorsements.certificate import name_attributes

    return ", ".join(text for _, text in name_attributes(name)) or "(empty)"


def _check_dates(run: Run, step: str, amd: AmdCertificate, place: str, now: datetime) -> None:
    run.check(
        step,
        amd.is_valid_at(now),
        detail=f"to {amd.not_after:%Y-%m-%d}",
        where=f"{place}, validity",
        expected=lambda: f"a time from {amd.not_before.isoformat()} to {amd.not_after.isoformat()}",
        found=lambda: f"{now.isoformat()}: {'not yet valid' if now < amd.not_before else 'expired'}",
        fix=_DATES_FIX,
    )


def _find_issuer(run: Run, step: str, amd: AmdCertificate, pool: tuple[AmdCertificate, ...]) -> AmdCertificate | None:
    """Return the certificate of `pool` that signed `amd`, having added the step that says so."""
    if run.first_failed(("vek.signature_algorithm",)):
        run.skip(step, "vek.signature_algorithm failed")
        return None
    named = [item for item in pool if item.subject == amd.issuer]
    for item in named:
        if amd.is_signed_by(item):
            run.ok(step, item.subject_cn)
            return item
    # A root in the file has the issuer's name only if it is the issuer; without any of that level nothing was given.
    of_level = [item for item in pool if (item.subject == item.issuer) == amd.issuer_cn.startswith("ARK-")]
    if not named and not of_level:
        run.skip(step, f"no certificate of {amd.issuer_cn or 'the issuer'} was given")
        return None
    found = ", ".join(item.subject_cn or "(no name)" for item in named or of_level)
    run.fail(
        step,
        where=f"the certificate of {amd.subject_cn}",
        expected=f"a signature by the key of {amd.issuer_cn or '(no name)'}",
        found="a signature that its key did not make" if named else f"no such certificate, only {found}",
        fix=_CHAIN_FIX,
    )
    return None


def _check_intermediate(run: Run, vek: VekCertificate, issuer: AmdCertificate, now: datetime) -> None:
    place = f"the certificate of {issuer.subject_cn}"
    _check_dates(run, "chain.intermediate_validity", issuer, place, now)
    _check_authority(run, "chain.intermediate_is_ca", issuer, place, authorities_below=0)
    line = vek.product.value if vek.product is not None else "(unknown)"
    wanted = f"SEV-{line}" if vek.signer == "VCEK" else f"SEV-VLEK-{line}"
    _check_names(run, "chain.intermediate_names", issuer, place, expected_cn=wanted)


def _check_authority(run: Run, step: str, amd: AmdCertificate, place: str, *, authorities_below: int) -> None:
    from cryptography import x509

    basic = _extension(lambda: amd.view.extensions.get_extension_for_class(x509.BasicConstraints).value)
    usage = _extension(lambda: amd.view.extensions.get_extension_for_class(x509.KeyUsage).value)
    is_ca = basic is not None and basic.ca
    signs = usage is not None and usage.key_cert_sign
    path = None if basic is None else basic.path_length
    limit = "no limit of path length" if path is None else f"path length {path}"
    words = ("a CA" if is_ca else "not a CA") + (", keyCertSign, " if signs else ", no keyCertSign, ") + limit
    run.check(
        step,
        is_ca and signs and (path is None or path >= authorities_below),
        detail=words,
        where=f"{place}, basicConstraints and keyUsage",
        expected="CA true, keyCertSign, a path length that allows the certificates below it",
        found=words,
        fix=_CHAIN_FIX,
    )


def _extension(read: Callable[[], T]) -> T | None:
    from cryptography import x509

    try:
        return read()
    except x509.ExtensionNotFound:
        return None


def _check_root(run: Run, root: AmdCertificate, now: datetime, roots: TrustRoots) -> str | None:
    """Return the product line that the root is pinned for, None if it is not pinned or does not sign itself."""
    place = f"the certificate of {root.subject_cn}"
    signs_itself = run.check(
        "chain.root_self_signed",
        root.subject == root.issuer and root.is_signed_by(root),
        detail=root.subject_cn,
        where=place,
        expected="a signature by its own key",
        found=f"issuer {root.issuer_cn}, and a signature that its own key did not make",
        fix=_CHAIN_FIX,
    )
    _check_dates(run, "chain.root_validity", root, place, now)
    _check_authority(run, "chain.root_is_ca", root, place, authorities_below=1)
    if not signs_itself:
        run.skip("chain.root_pinned", "chain.root_self_signed failed")
        return None
    digest = root.spki_sha256
    line = roots.line_of(digest)
    holds = run.check(
        "chain.root_pinned",
        line is not None and root.subject_cn == f"ARK-{line}",
        detail=f"{line}, of {roots.name}",
        where=f"{place}, SHA-256 of SubjectPublicKeyInfo",
        expected=lambda: f"a root of {roots.name}: {', '.join(f'{name} {pin}' for name, pin in roots.ark.items())}",
        found=f"{digest} ({root.subject_cn or 'no name'})",
        fix=f"This chain ends in no root of {roots.name}, whatever its names say; the sandbox's ends in its own. "
        f"{_CHAIN_FIX}",
    )
    return line if holds else None
