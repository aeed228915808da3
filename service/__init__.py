"""The HTTP face of drcap and the caption pipeline behind it."""
