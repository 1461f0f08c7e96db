"""The sandbox: Azure in a box, at its real addresses, on loopback. It proves plumbing, never correctness."""
