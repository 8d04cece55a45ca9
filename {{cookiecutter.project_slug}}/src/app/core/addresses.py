"""Networks of clients, for limits."""

import ipaddress


def network_of(address: str) -> str:
    """Return the /64 of an IPv6 address, which is all one customer's (RFC 6177), or the address."""
    if ":" not in address:
        return address
    try:
        ip = ipaddress.IPv6Address(address)
    except ValueError:
        return address
    if ip.ipv4_mapped:
        return str(ip.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(ip) >> 64 << 64, 64)))
