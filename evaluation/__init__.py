"""Measuring captions and retrieval against references."""
