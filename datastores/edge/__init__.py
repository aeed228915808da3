"""The datastore of one machine: the Qdrant engine in this process, over a folder of files."""
