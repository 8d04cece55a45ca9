"""Addresses of clients, as they are counted."""

import ipaddress


def network_of(address: str) -> str:
    """Return what an address is counted by: of IPv6 the /64, all of it one customer's (RFC 6177).

    Args:
        address: An IP address; anything else stands for itself.
    """
    if ":" not in address:
        return address
    try:
        ip = ipaddress.IPv6Address(address)
    except ValueError:
        return address
    if ip.ipv4_mapped:
        return str(ip.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(ip) >> 64 << 64, 64)))
