"""Measures captions against references: `drcap evaluate`."""
