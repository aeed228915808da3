"""Measures memory and time of a full-size bundle with random weights."""
