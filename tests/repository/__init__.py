"""Tests of the files that are not Python: documents, sample data, Dockerfile, compose file, alerts and dashboard."""
