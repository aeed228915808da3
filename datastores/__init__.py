"""Where a domain's captions live: the store contract, its backends, corpus reading and registration."""
