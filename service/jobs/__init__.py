"""Jobs: registrations that go on when their client leaves and after a restart."""
