"""Credentials that nobody gave in code: the files of AWS and s3cmd, and the chain of sources.

    files.py         the shared files as plain data: `profile_of(name)` tells every key of a profile, with its
                     file and line; regions, addressing and endpoints are read from it too
    keys.py          what a source answers: `Keys`, and moments of RFC 3339
    sources.py       `Sources`: where to look, as options and environment say; part of a store's settings
    chain.py         `Chain`, the credential provider of stores that were given none: the order of sources
    context.py       what the sources share while the chain looks once
    environment.py, web_identity.py, profiles.py (with assume_role.py, process.py, sso.py), container.py,
    metadata.py      one source each: `find(context)` returns keys, raises `Nothing` with the reason if the
                     source is not there, and any other error if it is there and broken
    logs.py          the log `s3ext.credentials`
    services.py      requests to the services behind them, through the engine

Nothing here is imported before a store needs it, and what a source needs beyond the chain not before it is
there. Invariants: key, secret and token come from one place; no error, log record or repr holds a value that
may be a secret; a source that is configured and broken ends the search with an error, so that a typing error
never makes a program go on as somebody else.
"""
