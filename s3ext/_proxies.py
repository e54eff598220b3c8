"""The proxy that a client uses: the one of the configuration, or what the environment says when it is made.

libcurl would look into the environment itself, at every request: that costs time, and a change of the
environment would move a running program's traffic. So the rules are followed here, once for each client.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from s3ext._settings import Settings

__all__ = ["proxy_of"]


def proxy_of(settings: Settings, environ: Mapping[str, str]) -> tuple[str, str | None]:
    """Find the proxy for a client's endpoint.

    The variables are curl's: `http_proxy` or `https_proxy` by the endpoint's scheme, then `all_proxy`, and
    `no_proxy`; each in lower case first, then in upper case. `HTTP_PROXY` is obeyed as obstore does, but not
    where a web server runs us (CGI), because a visitor's `Proxy:` header would set it.

    Args:
        settings: The client's settings; its `proxy_url` and `proxy_excludes` come before the environment.
        environ: The process's environment.

    Returns:
        The proxy's URL, "" for none; and the hosts that bypass it, or None.
    """
    excludes = settings.proxy_excludes
    if excludes is None:
        excludes = environ.get("no_proxy") or environ.get("NO_PROXY")
    if settings.proxy_url is not None:
        return settings.proxy_url, excludes
    names = [f"{settings.scheme}_proxy", f"{settings.scheme}_proxy".upper(), "all_proxy", "ALL_PROXY"]
    by_a_visitor = "HTTP_PROXY" if "REQUEST_METHOD" in environ else None
    return next((environ[name] for name in names if environ.get(name) and name != by_a_visitor), ""), excludes
