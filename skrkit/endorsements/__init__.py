"""AMD's certificates and the roots they are held against."""
