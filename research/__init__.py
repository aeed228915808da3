"""How the shipped weights came to be. Not installed."""
