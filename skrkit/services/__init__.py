"""One file per remote endpoint."""
