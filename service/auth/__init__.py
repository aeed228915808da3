"""Who may ask what: keys, the file they are in, and the guard of the routes."""
