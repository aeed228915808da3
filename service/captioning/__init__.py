"""The caption pipeline: it turns recordings into captions. It does not depend on HTTP."""
