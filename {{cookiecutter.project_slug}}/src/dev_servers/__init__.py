"""Servers for development and tests, from wheels, without Docker.

A server runs in a process of its own, listens on a socket or on the loopback interface, is shared
by the commands that name the same directory, and stops with the last of them, even if that is
killed. Linux, macOS and WSL; any user, root included.

Production does not ship this package.
"""

from dev_servers.server import Server, ServerUnavailable
from dev_servers.services import backing_services

__all__ = ["Server", "ServerUnavailable", "backing_services"]
