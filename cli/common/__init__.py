"""What the commands share: the client, errors, progress, files and help texts."""
