"""The words of a notice in the page's language. Pure."""

from terang.page.numbers import Numbers
from terang.page.texts import Texts
from terang.reader import NoticeRow

__all__ = ["notice_words"]


def notice_words(texts: Texts, numbers: Numbers, row: NoticeRow) -> str:
    """The text of the notice's topic with its values; the bare topic and values where we have no text for it.

    A value whose name ends in `_mwh` is energy and is written in kWh.
    """
    values = {name: _written(name, value, numbers) for name, value in row.values.items()}
    text = texts.filled(f"notice.{row.topic}", values)
    if text is not None:
        return text
    rest = "; ".join(f"{name}: {value}" for name, value in values.items())
    return f"{texts('notice.other', topic=row.topic.replace('_', ' '))} {rest}".strip()


def _written(name: str, value: str, numbers: Numbers) -> str:
    if name.endswith("_mwh") and value.isascii() and value.isdecimal():
        return numbers.kwh(int(value[:18]))
    return value
