"""The evidence bundle: one file with all that is known of one attempt, and the checks that can be run on it again."""
