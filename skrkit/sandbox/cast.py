"""The cast of one sandbox: tenant, subscription, and the operator's service principal. Written once, at its making."""

from __future__ import annotations

import secrets
from datetime import datetime

from skrkit.sandbox import chance
from skrkit.sandbox.store import Document, Store


def ensure_cast(store: Store, now: datetime) -> Document:
    """Return the document `settings/cast`, made with random ids and a random secret if it is not there yet."""
    with store.transaction():
        cast = store.get("settings", "cast")
        if cast is None:
            names = ("tenant", "subscription", "client_id", "operator_oid")
            cast = {name: chance.uuid4(f"cast/{name}") for name in names}
            cast |= {"client_secret": new_secret(), "created": now.isoformat()}
            store.put("settings", "cast", cast)
    return cast


def new_secret() -> str:
    """Return a secret of 240 random bits for an application: a text that no command line takes for an option."""
    while (made := secrets.token_urlsafe(30)).startswith("-"):  # `az login --password -x` asks for a value
        pass
    return made
