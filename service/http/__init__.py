"""HTTP: middleware, uploads, error answers, deadlines, event streams and connections."""
