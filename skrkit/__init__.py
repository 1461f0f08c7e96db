"""skrkit: learn, run and troubleshoot Azure Secure Key Release, with every artefact in sight."""

__version__ = "0.1.0"
