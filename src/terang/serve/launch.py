"""Starting a child by the name of its main function: the parent need not load what only the child works with."""

import importlib

__all__ = ["launch"]


def launch(main: str, *arguments: object) -> None:
    """Run `main`, written module:function, in this process."""
    module, _, function = main.partition(":")
    getattr(importlib.import_module(module), function)(*arguments)
