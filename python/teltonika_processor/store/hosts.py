"""Addresses with several hosts, for failover. Pure."""

from collections.abc import Mapping
from urllib.parse import SplitResult, parse_qsl, quote, urlencode, urlsplit


def single_host_dsns(dsn: str) -> list[str]:
    """One address for each host of `dsn`, in their order.

    Each host gets a time of its own this way: a host that is cut off answers nothing, and would use
    up the time of those after it.
    """
    parts = urlsplit(dsn)
    credentials, at, hosts = parts.netloc.rpartition("@")
    if "," in hosts:
        return [
            parts._replace(netloc=f"{credentials}{at}{host}").geturl() for host in hosts.split(",")
        ]
    return [dsn] if hosts else _from_query(parts, dsn)


def host_of(dsn: str) -> str:
    """``host:port`` or the socket's directory, without user and password: what may be shown."""
    parts = urlsplit(dsn)
    return parts.netloc.rpartition("@")[2] or dict(parse_qsl(parts.query)).get("host", "localhost")


def with_options(dsn: str, options: Mapping[str, str]) -> str:
    """The address with these options instead of its own.

    Not by ``geturl()``: it drops the slashes of an address whose host stands in its query.
    """
    parts = urlsplit(dsn)
    query = urlencode(options, quote_via=quote, safe="")
    return f"{parts.scheme}://{parts.netloc}{parts.path}?{query}"


def _from_query(parts: SplitResult, dsn: str) -> list[str]:
    """Hosts may stand in ``?host=``, as directories of sockets must."""
    options = dict(parse_qsl(parts.query))
    hosts = options.get("host", "").split(",")
    ports = options.get("port", "").split(",")
    if len(hosts) == 1 or len(ports) not in {1, len(hosts)}:
        return [dsn]
    if len(ports) == 1:
        ports *= len(hosts)
    return [
        with_options(dsn, {**options, "host": host} | ({"port": port} if port else {}))
        for host, port in zip(hosts, ports, strict=True)
    ]
