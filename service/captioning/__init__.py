"""The caption pipeline: recordings in, captions out. It knows nothing of HTTP."""
