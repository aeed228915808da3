"""The HTTP service of drcap, with the caption pipeline."""
