"""Generated scenes: a test set made of known sounds, with references."""
