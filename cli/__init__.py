"""The `drcap` command."""
