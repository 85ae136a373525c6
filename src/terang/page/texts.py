"""The texts of the pages, one file a language in every package that brings some, every key in each."""

import json
from functools import cache
from importlib import resources

from terang.values.errors import TerangError

__all__ = ["DEFAULT", "LANGUAGES", "LOCALES", "Texts", "load_texts", "parse_accept_language"]

LANGUAGES = ("id", "en")
DEFAULT = "id"
LOCALES = {"id": "id-ID", "en": "en-GB"}
"""How a browser's own formatting is asked for each language."""


class Texts:
    """The texts of one language; a missing key is a fault of ours and says so at once."""

    def __init__(self, language: str, texts: dict[str, str]) -> None:
        self.language = language
        self._texts = texts

    def __call__(self, key: str, /, **values: object) -> str:
        """The text of `key` with `{name}` filled in."""
        try:
            text = self._texts[key]
        except KeyError as error:
            raise TerangError(f"the text {key} is missing in texts/{self.language}.json") from error
        return text.format(**values) if values else text

    def either(self, key: str, otherwise: str) -> str:
        """The text of `key`, or `otherwise` for a word that a device or a kit brought along."""
        return self._texts.get(key, otherwise)

    def filled(self, key: str, values: dict[str, str]) -> str | None:
        """The text of `key` with values from outside filled in; None where there is none or a value is missing."""
        text = self._texts.get(key)
        if text is None:
            return None
        try:
            return text.format_map(values)
        except (KeyError, IndexError, ValueError):
            return None

    def __contains__(self, key: object) -> bool:
        return key in self._texts


@cache
def load_texts(language: str, packages: tuple[str, ...]) -> Texts:
    """The texts of `language`, which is one of LANGUAGES, out of these packages; TerangError where two have one key."""
    texts: dict[str, str] = {}
    for package in packages:
        file = resources.files(package).joinpath("texts", f"{language}.json")
        found: dict[str, str] = json.loads(file.read_text(encoding="utf-8"))
        if twice := texts.keys() & found.keys():
            raise TerangError(f"{package} brings texts that others have: {', '.join(sorted(twice))}")
        texts |= found
    return Texts(language, texts)


def parse_accept_language(header: str) -> str | None:
    """The first language of a browser's Accept-Language that we have, None if it names none."""
    for part in header[:200].split(","):
        word = part.split(";")[0].strip().lower().split("-")[0]
        if word in LANGUAGES:
            return word
        if word == "in":  # what old Androids call Indonesian
            return "id"
    return None
