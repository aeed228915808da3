"""Keeps the captions of domains: the contract of a store, its backends, corpus reading and registration."""
