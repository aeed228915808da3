"""Side-by-side measurements: ours and its peers in one run, on the same captions and the same machine."""
