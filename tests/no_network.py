"""A machine whose sockets are out of order, while nothing says that it is offline."""

import socket

import pytest


def refuse_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks for a connection or a name fails the test; the hub's own switch is off."""

    def refuse(*args: object, **more: object) -> None:
        raise AssertionError(f"a socket was asked for {args}")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    for call in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, call, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
