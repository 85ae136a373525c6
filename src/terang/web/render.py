"""Pages as HTML: the template, the person's language, the site's numbers, and what stands around every page."""

import json
from functools import cache
from importlib import resources
from zoneinfo import ZoneInfo

from jinja2 import BaseLoader, ChoiceLoader, Environment, PackageLoader, PrefixLoader, StrictUndefined
from litestar import MediaType, Response
from litestar.template.base import csrf_token
from markupsafe import Markup

from terang.page import texts as language
from terang.page.cards import Card, KitPages, Visit
from terang.page.numbers import Numbers
from terang.page.texts import Texts, load_texts
from terang.web.access import Visitor
from terang.web.notices import notice_words
from terang.web.parts import Asked, Parts

__all__ = [
    "LANGUAGE_COOKIE",
    "asset",
    "environment",
    "language_of",
    "numbers_of",
    "render",
    "render_card",
    "render_plain",
    "texts_in",
    "texts_of",
]

LANGUAGE_COOKIE = "terang_language"


@cache
def environment(kits: tuple[KitPages, ...] = ()) -> Environment:
    """The templates of the house, and of kits under their names; a name that a page was not given is an error, not an
    empty string.
    """
    of_kits: dict[str, BaseLoader] = {pages.kit: PackageLoader(pages.package, "templates") for pages in kits}
    made = Environment(
        loader=ChoiceLoader([PackageLoader("terang.web", "templates"), PrefixLoader(of_kits)]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals["asset"] = asset
    made.globals["notice_words"] = notice_words
    return made


@cache
def _manifest() -> dict[str, str]:
    file = resources.files("terang.web").joinpath("static", "manifest.json")
    try:
        manifest: dict[str, str] = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return manifest


def asset(name: str) -> str:
    """The address of a built asset, with its hash so that browsers may keep it for ever."""
    return f"/static/{name}?v={_manifest().get(name, 'unbuilt')}"


def language_of(request: Asked, otherwise: str) -> str:
    """The language chosen on this browser, else the person's own, else the browser's, else `otherwise`."""
    chosen = request.cookies.get(LANGUAGE_COOKIE)
    if chosen in language.LANGUAGES:
        return chosen
    visitor = request.scope.get("user")
    if isinstance(visitor, Visitor) and visitor.user.language in language.LANGUAGES:
        return visitor.user.language
    return otherwise if otherwise in language.LANGUAGES else language.DEFAULT


def texts_of(parts: Parts, request: Asked) -> Texts:
    """The texts in the language of this request."""
    return texts_in(language_of(request, parts.source.site().language), parts.kits)


def texts_in(chosen: str, kits: tuple[KitPages, ...] = ()) -> Texts:
    """The texts of the house and of these kits in a language."""
    return load_texts(chosen, ("terang.web", *(pages.package for pages in kits)))


def numbers_of(parts: Parts, request: Asked) -> Numbers:
    """How numbers are written for this request."""
    site = parts.source.site()
    return Numbers(language=language_of(request, site.language), zone=ZoneInfo(site.time_zone))


def render(
    parts: Parts, request: Asked, template: str, *, active: str = "", status: int = 200, **context: object
) -> Response[str]:
    """A page, or a piece of one, for the person who asks."""
    site = parts.source.site()
    texts, visitor = texts_of(parts, request), request.scope.get("user")
    owner = isinstance(visitor, Visitor) and visitor.is_owner
    query = request.scope.get("query_string", b"").decode("latin-1")
    html = (
        environment(parts.kits)
        .get_template(template)
        .render(
            **_words(parts, request),
            site=site,
            visitor=visitor,
            active=active,
            here=request.url.path + (f"?{query}" if query else ""),
            locale=language.LOCALES[texts.language],
            core_up=parts.core.up,
            open_notices=len(parts.source.notices(open_only=True)) if owner else 0,
            done=_done(texts, request),
            **context,
        )
    )
    return Response(html, status_code=status, media_type=MediaType.HTML)


def render_card(parts: Parts, request: Asked, pages: KitPages, card: Card, visit: Visit) -> Markup | None:
    """A card of a kit as HTML; None where it has nothing to say."""
    context = card.fill(visit)
    if context is None:
        return None
    template = environment(parts.kits).get_template(f"{pages.kit}/{card.template}")
    # what a template has written is HTML, everything that came into it was escaped there
    return Markup(template.render(visit=visit, **_words(parts, request), **context))  # noqa: S704


def _words(parts: Parts, request: Asked) -> dict[str, object]:
    """What every template writes with."""
    visitor = request.scope.get("user")
    return {
        "t": texts_of(parts, request),
        "n": numbers_of(parts, request),
        "now_ms": parts.clock.now_ms(),
        "csrf": csrf_token({"request": request}),
        "is_owner": isinstance(visitor, Visitor) and visitor.is_owner,
    }


def render_plain(template: str, texts: Texts, *, status: int, **context: object) -> Response[str]:
    """A page that needs nothing of the store and says nothing of the person: errors look alike for everybody."""
    html = environment().get_template(template).render(t=texts, **context)
    return Response(html, status_code=status, media_type=MediaType.HTML)


def _done(texts: Texts, request: Asked) -> str | None:
    """What has just been done, told after the redirect; only words that we have."""
    word = request.query_params.get("done")
    return texts.either(f"done.{word}", "") or None if word else None
