"""Micro-batching: what many requests ask of one model at the same time runs together."""
