"""What a live bundle needs of the world: the doctor's report on the same stage as the case."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skrkit.errors import SkrkitError

if TYPE_CHECKING:
    from skrkit.cloud import Cloud
    from skrkit.doctor.visit import Visit as DoctorVisit
    from skrkit.provision.stage import Stage
    from skrkit.wire import Json


def doctor_report(cloud: Cloud, stage: Stage) -> dict[str, Json]:
    """Return the doctor's report as JSON: `checks`, and `error` where the visit itself could not be made."""
    from skrkit.doctor.check import run_checks
    from skrkit.doctor.checks import checks_for

    try:
        with _visit(cloud, stage) as visit:
            results = run_checks(
                checks_for(
                    inside=visit.inside is not None, outside=visit.outside is not None, hsm=bool(visit.names.hsm)
                ),
                visit,
            )
    except SkrkitError as error:
        return {"checks": [], "error": dict(error.to_json())}
    return {"checks": [result.to_json() for result in results]}


def _visit(cloud: Cloud, stage: Stage) -> DoctorVisit:
    from skrkit.doctor.host import host_of
    from skrkit.doctor.place import in_azure
    from skrkit.doctor.visit import Names, Visit
    from skrkit.provision.identity import known_choice

    names = Names(
        resource_group=stage.resource_group,
        vm=stage.vm,
        vault=stage.vault,
        hsm=stage.hsm,
        key=stage.key,
        attestation=stage.attestation,
        user_identity=stage.user_identity if stage.identity != "system" else "",
    )
    host = host_of()
    if cloud.world == "sandbox":
        inside = cloud.enter(stage.vm, resource_group=stage.resource_group, identity=known_choice(cloud, stage))
        return Visit(host=host, names=names, inside=inside, outside=cloud)
    return in_azure(cloud, names, "" if host.tpm else "outside", host)
