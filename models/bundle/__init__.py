"""Bundles: what is in one, loading it, checking it, writing it and importing one of others."""
