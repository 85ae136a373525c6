"""The texts: the same in both languages, none missing, none left over."""

import json
import re
from importlib import import_module
from pathlib import Path

import pytest

from terang.kits_installed import load_pages
from terang.page.texts import LANGUAGES, load_texts
from terang.values.errors import TerangError
from terang.web.render import texts_in

PARTS = [
    Path(str(import_module(name).__file__)).parent for name in ("terang.web", *(one.package for one in load_pages()))
]
KEYS = {
    language: {
        key: text
        for part in PARTS
        for key, text in json.loads((part / "texts" / f"{language}.json").read_text(encoding="utf-8")).items()
    }
    for language in LANGUAGES
}
SOURCES = [path for part in PARTS for path in (*(part / "templates").rglob("*.html"), *part.glob("*.py"))]
# What a program makes out of a beginning and a word of a closed list, or of a word that a device or kit brings along.
FAMILIES = (
    *(
        "chart.",
        "done.",
        "error.",
        "login.w",
        "loss.",
        "nav.",
        "notice.",
        "overview.",
        "proof.anchored.",
        "proof.attested.",
    ),
    *("ledger.kept.", "proof.clock.", "proof.kind.", "proof.logged.", "proof.mark.", "proof.signed.", "quantity."),
    *("refused.kind.", "refused.reason.", "state.", "step.reason."),
)


def used() -> set[str]:
    """Every key that is written out whole."""
    keys = set()
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        keys |= set(
            re.findall(
                r"""(?:\bt|(?<!load_)texts|texts_in\([^()]*\))(?:\.either|\.filled)?\(\s*"([a-z0-9_.]+)"\s*[,)]""",
                text,
            )
        )
        keys |= set(re.findall(r'"((?:login|overview)\.(?!html)[a-z_]+)"', text))
    return keys


def test_both_languages_have_the_same_keys_and_blanks():
    """No text is missing in one language, none has other blanks to fill in."""
    assert KEYS["id"].keys() == KEYS["en"].keys()
    for key, text in KEYS["id"].items():
        assert sorted(re.findall(r"{(\w*)}", text)) == sorted(re.findall(r"{(\w*)}", KEYS["en"][key])), key
        assert text.strip()
        assert KEYS["en"][key].strip()


def test_every_key_that_is_used_exists():
    """A template or a program asks for no text that nobody wrote."""
    assert used()
    assert used() - KEYS["id"].keys() == set()


def test_no_text_is_left_over():
    """Every text is asked for, whole or as one of a family."""
    spare = {key for key in KEYS["id"] if key not in used() and not key.startswith(FAMILIES)}
    assert spare == set()


def test_every_family_has_members():
    """A family that nothing belongs to is left over as well."""
    for family in FAMILIES:
        assert any(key.startswith(family) for key in KEYS["id"]), family


def test_a_missing_text_is_a_clear_fault():
    """The error names the key and the file."""
    with pytest.raises(TerangError, match=r"the text nothing is missing in texts/id\.json"):
        texts_in("id")("nothing")


def test_no_kit_may_take_another_s_words():
    """A kit that brings a text of the house is named."""
    with pytest.raises(TerangError, match=r"terang\.web brings texts that others have: chart\.as_table"):
        load_texts("id", ("terang.web", "terang.web"))


def test_values_from_outside_cannot_break_a_text():
    """A notice without its value falls back, and a brace in a value is only a brace."""
    texts = texts_in("id", load_pages())
    assert texts.filled("notice.forked", {}) is None
    assert texts.filled("notice.nobody_wrote_this", {"room": "x"}) is None
    assert (
        texts.filled("notice.device_disk_full", {"device": "{0.__class__}"}) == "{0.__class__}: penyimpanan alat penuh."
    )
