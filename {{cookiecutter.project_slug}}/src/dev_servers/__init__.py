"""What the service needs around it while it is developed and tested, without Docker.

A server is looked for in this order: an address that was given, a program on this machine, a
program from a wheel among the development dependencies. A server that is started here listens on a
socket that only its user can reach, is shared by the commands that use it at the same time, and
ends with the last of them, whatever becomes of it. Works on Linux, macOS and WSL, as any user.

Production does not have this package: only `app` is shipped.
"""

from dev_servers.server import Server, ServerUnavailable
from dev_servers.services import backing_services

__all__ = ["Server", "ServerUnavailable", "backing_services"]
