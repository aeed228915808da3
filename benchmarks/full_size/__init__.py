"""A bundle of full size with random weights: what it takes of memory and time, whatever it says."""
