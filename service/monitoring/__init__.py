"""What the service tells of itself: logs, metrics and the port for operations."""
