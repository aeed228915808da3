"""The service under load, beside what one would otherwise write."""
