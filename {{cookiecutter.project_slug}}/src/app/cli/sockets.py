"""The port to listen on."""

import errno
import socket

from app.cli.output import CommandFailed


def bound_socket(host: str, port: int) -> socket.socket:
    """Take a port, before anything else is started for it.

    Args:
        host: Address or name of an interface of this machine.
        port: Number of the port; 0 for any that is free.

    Raises:
        CommandFailed: It is not to be had.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise CommandFailed(f"{host} is not an address to listen on: {error.strerror}.") from error
    taken = socket.socket(family, kind)
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        taken.bind(address)
        taken.listen()
    except OSError as error:
        taken.close()
        raise CommandFailed(_explained(error, host, port)) from error
    return taken


def _explained(error: OSError, host: str, port: int) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return (
                f"Port {port} on {host} is in use. End what listens there, or choose another port"
                " by APP_SERVER__PORT."
            )
        case errno.EACCES:
            return f"Port {port} is for privileged users; choose one from 1024 on."
        case _:
            return f"Can't listen on {host}, port {port}: {error.strerror}."
