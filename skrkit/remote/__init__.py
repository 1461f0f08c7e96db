"""Step 4 in a confidential VM that is somewhere else: sent there by run command, its artefacts brought back."""
