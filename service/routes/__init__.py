"""Routes of the HTTP API. Each module holds one group of routes."""
