"""Recordings as they are sent: containers, decoding, windows."""
