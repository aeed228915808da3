"""HTTP by hand over a socket, for what no client library would send."""

import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit


class Wire:
    """One connection to a service."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected

    def send(self, data: bytes) -> bool:
        """Whether it could be sent; not if the other side has closed."""
        try:
            self._socket.sendall(data)
        except (ConnectionError, TimeoutError):
            return False
        return True

    def dribble(self, data: bytes, pause: float, seconds: float) -> bytes:
        """Send a byte at a time until there is an answer, the other side closes or the time is over; the answer."""
        until = time.monotonic() + seconds
        for one in data:
            if not self.send(bytes([one])) or time.monotonic() > until:
                break
            answer = self.answer(pause)
            if answer:
                return answer
        return self.answer(0.1)

    def answer(self, seconds: float) -> bytes:
        """What has come once a whole answer with a stated length is there, the other side closes, or time is over."""
        until, got = time.monotonic() + seconds, b""
        while not _whole(got) and (left := until - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                piece = self._socket.recv(65536)
            except (ConnectionError, TimeoutError):
                break
            finally:
                self._socket.settimeout(10)
            if not piece:
                break
            got += piece
        return got

    def take(self, most: int) -> bytes:
        """What has come, but no more than this. Raises `ConnectionError` when the other side has closed."""
        piece = self._socket.recv(most)
        if not piece:
            raise ConnectionError("closed")
        return piece

    def closed_within(self, seconds: float) -> bool:
        """Whether the other side closes; what it still sends is dropped."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                if not self._socket.recv(65536):
                    return True
            except TimeoutError:
                return False
            except ConnectionError:
                return True
        return False

    def reset(self) -> None:
        """Close the connection with a reset (RST) in place of an end (FIN)."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def leave(self) -> None:
        """Close the connection."""
        self._socket.close()


@contextmanager
def wire(url: str, receive_buffer: int | None = None) -> Iterator[Wire]:
    """A connection; `receive_buffer` in bytes bounds what the system takes in for a client that does not read."""
    at = urlsplit(url)
    with socket.socket() as connected:
        if receive_buffer is not None:
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connected.settimeout(10)
        connected.connect((at.hostname, at.port))
        yield Wire(connected)


def head(method: str, path: str, *headers: str) -> bytes:
    """A request up to its body."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: drcap", *headers, "", ""]).encode("latin-1")


def status_of(answer: bytes) -> int | None:
    """The status of an answer; None where there is none."""
    words = answer.split(b" ", 2)
    return int(words[1]) if len(words) > 1 and words[0].startswith(b"HTTP/") and words[1].isdigit() else None


def _whole(answer: bytes) -> bool:
    top, blank, body = answer.partition(b"\r\n\r\n")
    for line in top.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return bool(blank) and len(body) >= int(line.split(b":")[1])
        if line.startswith(b"transfer-encoding:"):
            return body.endswith(b"0\r\n\r\n")
    return False
