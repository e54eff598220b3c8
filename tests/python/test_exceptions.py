"""The tree of exceptions: its bases, its messages, and its way through pickle."""

from __future__ import annotations

import builtins
import copy
import errno
import pickle

import pytest

from s3ext import exceptions
from s3ext.exceptions import BaseError, GenericError, NotFoundError
from tests.python.oracle import obstore

pytestmark = pytest.mark.smoke

TREE = {
    "BaseError": (Exception,),
    "GenericError": (BaseError,),
    "ThrottledError": (GenericError,),
    "RequestTimeoutError": (GenericError, TimeoutError),
    "ConnectError": (GenericError, ConnectionError),
    "ProtocolError": (GenericError,),
    "ChecksumError": (GenericError,),
    "NotFoundError": (BaseError, FileNotFoundError),
    "AlreadyExistsError": (BaseError, FileExistsError),
    "PreconditionError": (BaseError,),
    "NotModifiedError": (BaseError,),
    "PermissionDeniedError": (BaseError, PermissionError),
    "UnauthenticatedError": (BaseError,),
    "NotSupportedError": (BaseError, NotImplementedError),
    "InvalidPathError": (BaseError, ValueError),
    "UnknownConfigurationKeyError": (BaseError, ValueError),
    "JoinError": (BaseError,),
}
CLASSES = [getattr(exceptions, name) for name in TREE]
ATTRIBUTES = {
    "status": 404,
    "code": "NoSuchKey",
    "request_id": "R1",
    "host_id": "H1",
    "operation": "get",
    "bucket": "b",
    "key": "k/é",
    "attempts": 3,
    "elapsed": 1.5,
    "retryable": True,
}


def test_every_exported_class_is_in_the_tree():
    assert sorted(TREE) == sorted(exceptions.__all__)


@pytest.mark.parametrize("name", TREE)
def test_bases_are_those_of_the_tree(name):
    assert getattr(exceptions, name).__bases__ == TREE[name]


def test_the_drawing_at_the_top_shows_every_class():
    for name, bases in TREE.items():
        line = next(text for text in exceptions.__doc__.splitlines() if f" {name} " in f"{text} ")
        for base in bases:
            if base.__module__ == "builtins":
                assert base.__name__ in line, f"{name} is drawn without {base.__name__}"


def test_every_name_of_obstore_is_there():
    names = {
        name
        for name, value in vars(obstore("exceptions")).items()
        if isinstance(value, type) and issubclass(value, Exception)
    }
    assert len(names) > 10
    assert names <= set(TREE)


@pytest.mark.parametrize("cls", CLASSES)
def test_str_is_the_message_and_attributes_default_to_nothing(cls):
    error = cls("what happened")
    assert str(error) == "what happened"
    assert error.args == ("what happened",)
    for name in ATTRIBUTES:
        assert not getattr(error, name), name
    assert error.status is None
    assert error.attempts == 0


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("way", ["copy", *range(pickle.HIGHEST_PROTOCOL + 1)])
def test_attributes_survive_copy_and_pickle(cls, way):
    error = cls("what happened", **ATTRIBUTES)
    again = copy.copy(error) if way == "copy" else pickle.loads(pickle.dumps(error, way))
    assert type(again) is cls
    assert str(again) == "what happened"
    assert {name: getattr(again, name) for name in ATTRIBUTES} == ATTRIBUTES


@pytest.mark.parametrize("cls", [cls for cls in CLASSES if issubclass(cls, OSError)])
def test_an_os_error_has_the_errno_of_its_kind_and_does_not_say_it(cls):
    error = cls("gone", status=404)
    kinds = {
        FileNotFoundError: errno.ENOENT,
        FileExistsError: errno.EEXIST,
        PermissionError: errno.EACCES,
        TimeoutError: errno.ETIMEDOUT,
        ConnectionError: None,  # which has more than one
    }
    assert [error.errno] == [number for base, number in kinds.items() if isinstance(error, base)]
    assert error.filename is None
    assert str(error) == "gone"


@pytest.mark.parametrize(
    "base", ["FileNotFoundError", "PermissionError", "FileExistsError", "TimeoutError", "ConnectionError"]
)
def test_code_that_knows_builtins_only_catches_ours(base):
    ours = [cls for cls in CLASSES if issubclass(cls, getattr(builtins, base))]
    assert len(ours) == 1
    with pytest.raises(getattr(builtins, base)):
        raise ours[0]("x")


def test_a_message_stays_on_one_line():
    assert str(GenericError("first\nsecond\r\nthird\x85fourth")) == "first second third fourth"


def test_an_empty_exception_can_be_raised():
    with pytest.raises(NotFoundError) as caught:
        raise NotFoundError
    assert str(caught.value) == ""
