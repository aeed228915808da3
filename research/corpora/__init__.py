"""Makes the text that the embedded decoder is trained on."""
