"""What a Project Gutenberg text says of itself: title, author, language, number and date of release, charset.

Headers since 1971: fields since about 2003 (in English, of a few books in the book's language), before that a sentence and a number in
brackets. Looked for before the line at which the book begins or ends, and only where that names Project Gutenberg.
"""

from __future__ import annotations

import re
from typing import NamedTuple

MOST = 20_000  # characters in which a header ends; those of the 1990s have 12,000
NAMED = 3_000  # characters in which Project Gutenberg is named
LONGEST = 300  # characters of a field
BEGINS = re.compile(r"^[ \t*]*(?:START OF TH\w+ (?:\w+ )?PROJECT GUTENBERG|END[ *]+THE SMALL PRINT)", re.IGNORECASE | re.MULTILINE)
ENDS = re.compile(r"^[ \t*]*(?:END|ENDE|FIN)\b[^\n]{0,40}\bGUTENBERG", re.IGNORECASE | re.MULTILINE)
FIELD = re.compile(r"^\[?([A-Za-zé]+(?: [A-Za-z]+){0,3}):[ \t]*(\S.*(?:\n[ \t]{2,}\S.*){0,4})", re.MULTILINE)
NAMES = {
    "title": ("title", "titel", "titre", "titolo", "título"),
    "author": ("author", "autor", "auteur", "autore"),
    "language": ("language", "sprache", "langue", "lingua", "idioma", "taal"),
    "date": ("release date", "posting date", "erscheinungsdatum", "date de parution"),
    "charset": ("character set encoding", "character set"),
}
NUMBER = re.compile(r"\[?\be-?(?:book|text)s?[ -]*(?:#|no\.?|nr\.?)[ ]*(\d{1,6})\b", re.IGNORECASE)
SENTENCE = re.compile(
    r"Project Gutenberg(?:['’]s)?(?: e-?(?:book|text)s?,?(?: of)?)? (\S[^\n]{0,300}?)(?:, (?:by|par|von) ([^\n*]+))?[ *]*$",
    re.IGNORECASE | re.MULTILINE,
)
MONTHS = ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december")
MONTH = "|".join(month[:3] for month in MONTHS)
DATE = re.compile(rf"\b({MONTH})[a-z]*\.?,? *(?:(\d{{1,2}})(?:st|nd|rd|th)?(?:, *| +))?((?:19|20)\d\d)\b", re.IGNORECASE)
ISO = re.compile(r"\b((?:19|20)\d\d)(-\d\d-\d\d)?\b")
CODES = (  # ISO 639 by name in English, of some in the language itself, and by codes of three letters
    "afrikaans af,albanian sq,arabic ar,armenian hy,basque eu,bengali bn,bosnian bs,breton br,bulgarian bg,catalan ca,cebuano ceb,"
    "chinese zh,cornish kw,corsican co,croatian hr,czech cs,dansk da,danish da,deutsch de,dutch nl,english en,español es,"
    "esperanto eo,estonian et,faroese fo,farsi fa,finnish fi,français fr,french fr,frisian fy,friulian fur,gaelic gd,galician gl,"
    "gamilaraay kld,georgian ka,german de,greek el,ancient greek grc,hebrew he,hindi hi,hungarian hu,icelandic is,iloko ilo,"
    "indonesian id,interlingua ia,inuktitut iu,irish ga,italian it,italiano it,japanese ja,kashubian csb,khasi kha,korean ko,"
    "latin la,latvian lv,lithuanian lt,malay ms,maori mi,mayan languages myn,middle english enm,nahuatl nah,neapolitan nap,"
    "nederlands nl,norwegian no,occitan oc,ojibwa oj,old english ang,persian fa,polish pl,portuguese pt,português pt,romanian ro,"
    "russian ru,sanskrit sa,scots sco,scottish gaelic gd,serbian sr,slovak sk,slovenian sl,spanish es,swahili sw,swedish sv,suomi fi,"
    "tagalog tl,tamil ta,telugu te,thai th,tibetan bo,turkish tr,ukrainian uk,urdu ur,vietnamese vi,welsh cy,yiddish yi,eng en,"
    "fra fr,fre fr,deu de,ger de,spa es,ita it,por pt,rus ru,nld nl,dut nl,swe sv,dan da,nor no,pol pl,jpn ja,zho zh,chi zh,lat la,"
    "ell el,gre el,ces cs,cze cs,hun hu,fin fi,cat ca"
)
LANGUAGES = dict(pair.rsplit(" ", 1) for pair in CODES.split(","))


class Header(NamedTuple):
    """None where nothing is said."""

    title: str | None = None
    author: str | None = None
    language: str | None = None  # ISO 639
    date: str | None = None  # ISO 8601, to the day, month or year
    number: str | None = None  # of the book in the catalogue
    charset: str | None = None  # as it is written


def parse(text: str) -> Header:
    """The header of a text, whose line ends are line feeds."""
    head = text[:MOST]
    ends = ENDS.search(head)
    head = head[: ends.start()] if ends else head
    if "gutenberg" not in head[:NAMED].lower():
        return Header()
    begins = BEGINS.search(head)
    head = head[: begins.start()] if begins else head[:NAMED]
    fields: dict[str, str] = {}
    for name, value in FIELD.findall(head):
        fields.setdefault(name.lower(), " ".join(value.split())[:LONGEST])
    found = {what: next((fields[n] for n in names if n in fields), None) for what, names in NAMES.items()}
    number = NUMBER.search(head)
    if not found["title"] and (said := SENTENCE.search(head)):
        found["title"], found["author"] = said[1].strip(" *,"), found["author"] or (said[2] or "").strip(" *,.") or None
    written = found["date"] or (head[: number.end()].rpartition("\n")[2][-LONGEST:] if number else "")
    return Header(
        found["title"],
        found["author"],
        language(found["language"] or ""),
        date(written),
        str(int(number[1])) if number else None,
        found["charset"],
    )


def language(names: str) -> str | None:
    """The code of the first language that is named; a code stays one."""
    for name in re.split(r"[,;/&]| and | und | et ", re.sub(r"\(.*?\)", "", names).lower()):
        name = name.strip(" .")
        if name in LANGUAGES:
            return LANGUAGES[name]
        if re.fullmatch(r"[a-z]{2,3}(?:-\w+)?", name):
            return name.partition("-")[0]
    return None


def date(written: str) -> str | None:
    """`June 25, 2008`, `March, 1994`, `2004-09-10` or `1992` in ISO 8601."""
    if found := DATE.search(written):
        month = next(n for n, name in enumerate(MONTHS, 1) if name.startswith(found[1].lower()))
        day = int(found[2]) if found[2] else 0
        return f"{found[3]}-{month:02d}" + (f"-{day:02d}" if 1 <= day <= 31 else "")
    found = ISO.search(written)
    return found[0] if found else None
