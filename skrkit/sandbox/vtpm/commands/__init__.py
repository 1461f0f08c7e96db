"""The commands, a file for each group. Importing this package fills `registry.COMMANDS`."""

from skrkit.sandbox.vtpm.commands import (  # noqa: F401 (each import registers its commands)
    attest,
    capability,
    contexts,
    general,
    nv_memory,
    objects,
    pcrs,
    policies,
    rsa_operations,
    session_start,
    signing,
)
