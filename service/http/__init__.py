"""HTTP: middlewares, uploads, answers to errors, deadlines, event streams and connections."""
