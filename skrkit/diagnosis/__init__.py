"""Why a release failed: the catalogue of causes, what is known of one attempt, and the findings. Pure, no I/O."""
