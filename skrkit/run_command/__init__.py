"""Work inside a confidential VM through Azure's run command: the scripts that are sent, and their short answers."""
