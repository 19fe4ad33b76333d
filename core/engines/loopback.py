"""Addresses on this machine: a free port, and whether an endpoint that a person names is here at all."""

from __future__ import annotations

import ipaddress
import socket
from contextlib import suppress
from urllib.parse import urlsplit

import psutil

from core.errors import BitpressError

HOST = "127.0.0.1"
_HINT = "Name a server on this machine, such as http://127.0.0.1:8000/v1."


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def port_of(address: str) -> int:
    """The port of an endpoint's address."""
    parts = urlsplit(address)
    return parts.port or (443 if parts.scheme == "https" else 80)


def listener(port: int) -> int | None:
    """The process that listens at the port; None where this user may not know, as behind a container."""
    found = set()
    with suppress(psutil.Error, OSError):
        for connection in psutil.net_connections(kind="tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port:
                found.add(connection.pid)
    # A server and the children that inherited its socket: the oldest is the one that started the others.
    known = sorted(pid for pid in found if pid is not None)
    return known[0] if known else None


def loopback_endpoint(address: str) -> str:
    """The endpoint's base address without a slash at its end, by number where it was named `localhost`.

    Raises BitpressError `bad-endpoint` for what is no http address, and `endpoint-elsewhere` for one that is not a
    loopback address: prompts stay on this machine. Names other than localhost are not looked up, as what a name means
    can change between the look and the request.
    """
    try:
        parts = urlsplit(address.strip())
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise BitpressError("bad-endpoint", f"{address!r} is no address: {error}.", _HINT) from error
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment or parts.username is not None:
        raise BitpressError("bad-endpoint", f"{address!r} is not the address of an OpenAI-compatible server.", _HINT)
    if host == "localhost":
        host = HOST
    try:
        here = ipaddress.ip_address(host).is_loopback
    except ValueError:
        here = False
    if not here:
        raise BitpressError(
            "endpoint-elsewhere", f"{host} is not this machine, and nothing that Bitpress does leaves it.", _HINT
        )
    place = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{place}{f':{port}' if port is not None else ''}{parts.path.rstrip('/')}"
