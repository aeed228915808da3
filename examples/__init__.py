"""Sample domains and sample recordings, all made by the project itself."""
