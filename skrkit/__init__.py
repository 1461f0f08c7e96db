"""skrkit: learn, run and troubleshoot Azure Secure Key Release, with every artefact in sight."""

__version__ = "0.1.0"
__all__ = ["Cloud", "connect"]


def __getattr__(name: str) -> object:
    """Return a public name, imported when it is first asked for: `import skrkit` does no work."""
    if name in __all__:
        from importlib import import_module  # by name: the sandbox reads __version__ here, and must not reach the cloud

        return getattr(import_module("skrkit.cloud"), name)
    raise AttributeError(f"module 'skrkit' has no attribute {name!r}")
