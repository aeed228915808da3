"""Conditioning: projection of what was heard, the prompt's similar captions, and the choice among candidates."""
