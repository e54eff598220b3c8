"""Credential providers on other libraries: each module needs one, which comes with the extra `auth`.

    boto3.py         Boto3CredentialProvider, StsCredentialProvider: what boto3 finds, roles of STS
    aiobotocore.py   AiobotocoreCredentialProvider: what an aiobotocore session finds
    earthdata.py     NASA Earthdata's keys; sync on requests, async on aiohttp

The names, arguments and results are obstore's (`obstore.auth`) where it has them. A provider is a callable
for `credential_provider=`. Invariant: no repr shows keys, tokens or passwords.
"""

from __future__ import annotations

__all__: list[str] = []


def missing(module: str, error: ImportError) -> ImportError:
    """Make the error for a library that is not installed.

    Args:
        module: The module that needs it.
        error: What importing it raised.
    """
    library = (error.name or "a library").partition(".")[0]
    return ImportError(f"{module} needs {library}: pip install 's3ext[auth]'", name=library)
