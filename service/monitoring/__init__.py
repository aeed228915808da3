"""Monitoring: logs, metrics and traces of the service."""
