"""What ``drcap doctor`` looks at, one subject a module. No check changes anything or waits for another."""
