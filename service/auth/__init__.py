"""Authorisation: keys, the file with the keys, and the guard of the routes."""
