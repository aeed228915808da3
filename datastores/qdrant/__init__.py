"""The datastore of many machines: a Qdrant server or cluster."""
