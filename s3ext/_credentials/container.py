"""The credentials of a container: of ECS, of EKS Pod Identity, and of whatever speaks as they do.

    container_credentials_relative_uri   a path at 169.254.170.2, the agent of ECS; counts first
    container_credentials_full_uri       any URL: https, or http on this machine (AWS, "Container credential
                                         provider"): loopback, 169.254.170.2, 169.254.170.23, fd00:ec2::23
    container_authorization_token_file   read anew each time; else AWS_CONTAINER_AUTHORIZATION_TOKEN

Line ends behind a token are dropped; within it they would become headers of somebody's choice, and are
refused.
"""

from __future__ import annotations

from s3ext._credentials.files import read
from s3ext._credentials.keys import Keys, Nothing, from_document
from s3ext.exceptions import GenericError, UnauthenticatedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s3ext._credentials.context import Context

__all__ = ["find"]

AGENT = "http://169.254.170.2"
HOSTS = frozenset({"169.254.170.2", "169.254.170.23", "fd00:ec2::23"})
CONNECT_MS = 2000
FIRST_BYTE_MS = 5000


def find(context: Context) -> Keys:
    """Ask the container's agent.

    Raises:
        Nothing: There is none.
        BaseError: It is not allowed, does not answer, or not with keys.
    """
    sources = context.sources
    if sources.container_credentials_relative_uri:
        label, url = "container_credentials_relative_uri", AGENT + sources.container_credentials_relative_uri
        if not sources.container_credentials_relative_uri.startswith("/"):
            raise GenericError(f"{label} must be a path that begins with '/'")
    elif sources.container_credentials_full_uri:
        label, url = "container_credentials_full_uri", sources.container_credentials_full_uri
    else:
        raise Nothing("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI and _FULL_URI are not set")
    return _ask_agent(context, url, label)


def _ask_agent(context: Context, url: str, label: str) -> Keys:
    from urllib.parse import parse_qsl, unquote, urlsplit  # noqa: PLC0415 - heavy, and needed from here on

    from s3ext._credentials.services import ask, header, object_of, service_client  # noqa: PLC0415 - the same

    try:
        parts = urlsplit(url)
    except ValueError:  # Whose words may show a password in it.
        raise GenericError(f"{label} is not a URL") from None
    _check_host(parts.scheme, parts.hostname, label)
    client = service_client(
        context,
        f"{parts.scheme}://{parts.netloc}",
        label,
        local=parts.scheme == "http",
        connect_ms=CONNECT_MS,
        first_byte_ms=FIRST_BYTE_MS,
    )
    source = f"container credentials at {client.host}"
    token, what = _token(context)
    answer = ask(
        client,
        "GET",
        unquote(parts.path.removeprefix("/")),
        query=parse_qsl(parts.query, keep_blank_values=True),
        headers=(
            ("accept", "application/json"),
            *((header("authorization", token, what),) if token else ()),
        ),
        source=source,
    )
    if answer.status != 200:
        raise UnauthenticatedError(f"{source} were refused with status {answer.status}", status=answer.status)
    return from_document(object_of(answer, source), source)


def _check_host(scheme: str, host: str | None, label: str) -> None:
    if scheme == "https" or host == "localhost":
        return
    from ipaddress import ip_address  # noqa: PLC0415 - few URLs need it

    try:
        address = ip_address(host or "")
    except ValueError:
        address = None
    if address is None or not (address.is_loopback or str(address) in HOSTS):
        raise GenericError(
            f"{label} names the host {host!r} without TLS; only loopback and "
            f"{', '.join(sorted(HOSTS))} may be so"
        )


def _token(context: Context) -> tuple[str, str]:
    """Return the token, "" for none, and what it is called."""
    path = context.sources.container_authorization_token_file
    if path:
        found = read(path, "the container's token")
        if found is None:
            raise GenericError(f"the container's token {path} is not there")
        return found[0].decode("utf-8", "replace").strip(" \r\n"), f"the container's token {path}"
    variable = "AWS_CONTAINER_AUTHORIZATION_TOKEN"
    return context.environ.get(variable, "").strip(" \r\n"), variable
