"""The functions that take a store first are the store's methods, to the letter, as obstore's are.

They are written out twice because each way to derive them costs its callers something: what `ParamSpec` gives
takes no `store=` by keyword, as obstore's functions do, and methods are not loaded by `import s3ext`. So here
it is made sure that the two agree.
"""

from __future__ import annotations

import inspect
import pickle

import pytest

import s3ext
from s3ext.store import S3Store

NAMES = {"list_objects": "list"}
ALONE = {"open_url", "parse_scheme", "show_versions", "stats"}
# Methods whose name is that of a function which takes a URL.
OF_URLS = {"open"}
FUNCTIONS = sorted(set(s3ext._functions.__all__) - ALONE)

# Within the class `list` is the method, so the types that are lists have names of their own there.
ALIASES = {"Pieces": "list[Bytes]", "Texts": "list[str]", "Metas": "Sequence[ObjectMeta]"}


def plain(annotation: str) -> str:
    for alias, meaning in ALIASES.items():
        annotation = annotation.replace(alias, meaning)
    return annotation


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_takes_and_gives_what_the_method_does(name):
    function = getattr(s3ext._functions, name)
    method = getattr(S3Store, NAMES.get(name, name))
    first, *rest = inspect.signature(function).parameters.values()
    assert first.name == "store"
    assert first.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    assert rest == list(inspect.signature(method).parameters.values())[1:]
    given = inspect.signature(function).return_annotation
    result = plain(inspect.signature(method).return_annotation)
    assert given == (f"Coroutine[Any, Any, {result}]" if inspect.iscoroutinefunction(method) else result)


def test_every_operation_of_a_store_has_a_function():
    methods = {
        name for name, member in inspect.getmembers(S3Store, inspect.isfunction) if not name.startswith("_")
    }
    assert methods == {NAMES.get(name, name) for name in FUNCTIONS} | OF_URLS
    assert s3ext.open is s3ext._functions.open_url


@pytest.mark.parametrize("name", sorted({NAMES.get(name, name) for name in FUNCTIONS}))
def test_a_function_is_pickled_by_its_name_and_tells_where_it_is_described(name):
    function = getattr(s3ext, name)
    assert pickle.loads(pickle.dumps(function)) is function
    described = name.removesuffix("_async")
    assert f"see `S3Store.{described}`" in function.__doc__
    assert getattr(S3Store, described).__doc__
