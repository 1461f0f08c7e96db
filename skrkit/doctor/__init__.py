"""Checks of this machine and of the services a release needs, in order; and the gathering of what is known."""
