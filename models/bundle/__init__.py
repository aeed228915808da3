"""Bundles: one folder holds everything that makes captions.

`config` reads ``bundle.json``, `load` loads a bundle to run, and `warming` runs it once. `parts`, `check`, `checksums`,
`description` and `memory_need` look at a bundle without loading it. `writer` and `drcap_import` write bundles.
"""
