"""Code that several commands share: the client, errors, jobs, recordings, files and help texts."""
