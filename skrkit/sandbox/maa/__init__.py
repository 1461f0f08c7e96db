"""The sandbox's Microsoft Azure Attestation: providers that verify evidence, hold it to a policy and sign tokens.

`app(world)` answers at `shared<abbr>.<abbr>.attest.azure.net`, and at the hosts of providers that were made besides;
`keys.jwks_of` gives a relying party of the sandbox the same keys that `/certs` publishes.
"""

from __future__ import annotations

from skrkit.sandbox.maa.routes import app

__all__ = ["app"]
