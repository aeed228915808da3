"""Makes and measures the weights of the embedded bundle. Not installed."""
