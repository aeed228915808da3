"""What `drcap caption` is made of: recordings, requests, rows and where captions go."""
