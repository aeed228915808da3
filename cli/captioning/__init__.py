"""The parts of `drcap caption`: requests, tables and other outputs, and the service in the same process."""
