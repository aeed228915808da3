"""Reads the captions of a corpus in any of its formats."""
