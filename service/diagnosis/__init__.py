"""The checks of ``drcap doctor``, one subject a module. No check changes anything or depends on another."""
