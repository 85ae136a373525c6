"""The printed tree of errors is the tree of classes."""

import inspect
import re

from terang.values import errors


def test_the_printed_tree_is_the_tree_of_classes():
    """Every class stands in the docstring under its base, with its own docstring's words, and nothing else does."""
    printed, path = {}, {}
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"^([│├└─\s]*)(\w+)(?:\s{2,}(.*))?$", line)
        if not found or (not found[2].endswith(("Error",)) and "─" not in found[1]):
            continue
        depth = len(found[1]) // 4
        path[depth] = found[2]
        printed[found[2]] = path.get(depth - 1) if depth else None
    classes = {
        name: item.__bases__[0].__name__ if item is not errors.TerangError else None
        for name, item in inspect.getmembers(errors, inspect.isclass)
    }
    assert printed == classes
    assert sorted(classes) == errors.__all__


def test_the_docstrings_agree_with_the_tree():
    """What the tree says of a class is what its docstring says."""
    tree = " ".join((errors.__doc__ or "").split()).lower()
    for name in errors.__all__:
        words = (getattr(errors, name).__doc__ or "").strip().rstrip(".").lower()
        if name != "TerangError":
            assert words in tree, name
