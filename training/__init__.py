"""Training of what the embedded bundle ships: CLAP alignment and the text-only decoder."""
