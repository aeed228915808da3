"""Recordings as clients send them: formats, containers, decoding, removal of rumble, windows."""
