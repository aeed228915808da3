"""Recordings as they are sent: containers, decoding, rumble, windows."""
