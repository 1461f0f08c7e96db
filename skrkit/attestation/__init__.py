"""The local verifier: pure, with stable step ids."""
