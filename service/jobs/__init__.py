"""Jobs: registrations that continue after their client has left and after a restart."""
