"""Admission: how much work is let in at a time."""
