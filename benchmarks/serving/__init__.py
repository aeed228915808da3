"""Measures the service under load, beside the obvious alternatives."""
