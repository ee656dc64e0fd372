"""Text as HTML. All text from records is escaped: by the templates, or here where a format asks for markup."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from ..formats import Style
from ..quotes import address_of

TEMPLATES = Path(__file__).parent / "templates"
CODE = re.compile(r"`([^`]+)`")
EMPHASIS = re.compile(r"\*([^*]+)\*")
ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})")


def link(text: str, address: str) -> str:
    """A link, or the text alone where there is no address."""
    return f'<a href="{escape(address)}">{HTML.plain(text)}</a>' if address else HTML.plain(text)


HTML = Style(
    plain=lambda text: str(escape(text)).replace(" ± ", "\xa0±\xa0"),
    best=lambda text: f"<b>{text}</b>",
    rank=lambda text: f"<sub>{text}</sub>",
    quoted=lambda text: f"<em>{text}</em>",
    link=link,
)


def prose(text: str) -> Markup:
    """A paragraph of a docstring or page: `code`, *emphasis* and arXiv numbers become markup, all else is text."""
    found = CODE.sub(r"<code>\1</code>", str(escape(text)))
    found = ARXIV.sub(lambda match: link(match[0], address_of(match[1])), EMPHASIS.sub(r"<em>\1</em>", found))
    return Markup(found)


def paragraphs(text: str) -> list[Markup]:
    """The paragraphs of a text, which empty lines part."""
    return [prose(" ".join(part.split())) for part in text.split("\n\n") if part.strip()]


@cache
def environment() -> Environment:
    """The templates, which escape every value that is no markup."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters["prose"] = prose
    return made
