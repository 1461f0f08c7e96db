"""Applications of the sandbox's tenant: who signs in with a client id and a secret. The operator is the first.

A secret is told once, to who made the application; here its hash is kept. It is 240 random bits: it needs no salt.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from skrkit.errors import UsageError
from skrkit.sandbox import chance
from skrkit.sandbox.cast import new_secret
from skrkit.sandbox.entra import Principal

if TYPE_CHECKING:
    from skrkit.sandbox.store import Document
    from skrkit.sandbox.world import World

APPLICATION_KIND = "application"  # client id -> {"oid", "appid", "name", "secret_sha256"}
OPERATOR_NAME = "operator"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Created:
    """A new application. `secret` is to be shown once, and to nobody but who asked."""

    name: str
    oid: str
    appid: str
    secret: str = field(repr=False)


def all_applications(world: World) -> list[Document]:
    """Return the applications with their names, client and object ids, the operator first. No secrets."""
    operator = {"name": OPERATOR_NAME, "appid": world.setting("client_id"), "oid": world.setting("operator_oid")}
    made = [document for _, document in world.store.list(APPLICATION_KIND)]
    return [operator, *({name: each[name] for name in ("name", "appid", "oid")} for each in made)]


def principal_of(world: World, client_id: str) -> Principal | None:
    """Return who an application signs in as, or None if the tenant has no such application."""
    wanted = client_id.lower()
    found = next((each for each in all_applications(world) if str(each["appid"]).lower() == wanted), None)
    return None if found is None else Principal(oid=str(found["oid"]), appid=str(found["appid"]), tid=world.tenant)


def is_secret_of(world: World, client_id: str, secret: str) -> bool:
    """Return whether this is the application's secret."""
    if client_id.lower() == world.setting("client_id"):
        return hmac.compare_digest(secret.encode(), world.setting("client_secret").encode())
    document = world.store.get(APPLICATION_KIND, client_id.lower())
    return document is not None and hmac.compare_digest(_digest(secret), str(document["secret_sha256"]))


def exists(world: World, object_id: str) -> bool:
    """Return whether the directory knows this object id: of an application, or of a managed identity."""
    from skrkit.sandbox.arm.identity import PRINCIPAL_KIND

    wanted = object_id.lower()
    if any(str(each["oid"]).lower() == wanted for each in all_applications(world)):
        return True
    return world.store.get(PRINCIPAL_KIND, wanted) is not None


def create(world: World, name: str) -> Created:
    """Return a new application with a service principal and a secret. Raises `UsageError` for a name that is taken."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            what="principal",
            where="its name",
            expected="1 to 64 letters, digits, '.', '_' or '-', a letter or digit first",
            found=repr(name),
            fix="skrkit sandbox principal create vm-contributor",
        )
    with world.store.transaction():
        if any(str(each["name"]).lower() == name.lower() for each in all_applications(world)):
            raise UsageError(
                what=f"principal {name}",
                where="the sandbox's tenant",
                expected="a name that is free",
                found="a principal of that name, whose secret was shown when it was made",
                fix=f"skrkit sandbox principal delete {name}   or choose another name",
            )
        made = Created(
            name=name,
            oid=chance.uuid4("application/oid"),
            appid=chance.uuid4("application/appid"),
            secret=new_secret(),
        )
        document = {"oid": made.oid, "appid": made.appid, "name": name, "secret_sha256": _digest(made.secret)}
        world.store.put(APPLICATION_KIND, made.appid, document)
    return made


def delete(world: World, name: str) -> str:
    """Return the object id of the application that was deleted; its role assignments stay, and name nobody.

    Raises `UsageError` for the operator, and for a name that is not there.
    """
    found = next((each for each in all_applications(world)[1:] if str(each["name"]).lower() == name.lower()), None)
    if found is None:
        names = [str(each["name"]) for each in all_applications(world)[1:]]
        raise UsageError(
            what=f"principal {name}",
            where="the sandbox's tenant",
            expected=", ".join(names) or "a principal beside the operator, of which there is none",
            found=name,
            fix="skrkit sandbox principal list",
        )
    world.store.delete(APPLICATION_KIND, str(found["appid"]))
    return str(found["oid"])


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
