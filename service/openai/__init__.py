"""The shapes of OpenAI's API: what its clients send and expect."""
