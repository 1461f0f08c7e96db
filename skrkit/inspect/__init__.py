"""Recognise what is given, and open it."""
