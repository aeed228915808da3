"""Trains and measures the alignment head of the embedded CLAP."""
