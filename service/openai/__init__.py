"""Requests, answers and errors in the shapes of OpenAI's API."""
