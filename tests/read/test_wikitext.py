"""Cleaning of wikitext: golden pairs, and on whatever there is, what comes of editing mwparserfromhell's tree as the data set does."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.read import wikipedia_namespaces as namespaces
from stages.read.wikitext import Cleaner

pytest.importorskip("mwparserfromhell")
from edited_wikitext import edited


def cleaner(language="en", **options) -> Cleaner:
    return Cleaner(namespaces.media(language), namespaces.category(language), **options)


ENGLISH, GERMAN = cleaner(), cleaner("de")


@pytest.mark.parametrize(
    ("wikitext", "text"),
    [
        pytest.param(
            "'''Oslo''' is the [[capital city|capital]] of [[Norway]].<ref name=a>{{cite web|url=http://a.org|title=T}}</ref> "
            "Pop. {{formatnum:700000}}.",
            "Oslo is the capital of Norway. Pop. .",
            id="X1",
        ),
        pytest.param("== Facts ==\n{|\n| a || b\n|}\nAfter <!-- hidden --> table.", "\n\nFacts \n\nAfter  table.", id="X2"),
        pytest.param("[[File:A.jpg|thumb|A [[nested|link]] in it]]Body text.", "Body text.", id="X3"),
        pytest.param("A[[Image:x.png]]B __TOC__ C", "AB  C", id="X4"),
        pytest.param("Text[[Category:Cities]]", "TextCities", id="X5"),
        pytest.param("[[:Category:Cities]] link", ":Category:Cities link", id="X5 colon"),
        pytest.param("[[fr:Oslo]]end", "fr:Osloend", id="X5 interwiki"),
        pytest.param("[https://a.org the site] or https://b.org now.", "the site or https://b.org now.", id="X6"),
        pytest.param("[https://a.org] bare", "bare", id="X6 bare"),
        pytest.param("== Hist ==\nText\n=== Sub ===\nMore", "\n\nHist \nText\n\nSub \nMore", id="X7"),
        pytest.param("* item1\n* item2", "item1\n item2", id="X9 list"),
        pytest.param("x<sup>2</sup>", "x2", id="X9 sup"),
        pytest.param("a<br>b", "ab", id="X9 br"),
        pytest.param("<math>x^2</math> y", "y", id="X9 math"),
        pytest.param("{{Infobox|a=b}}", "", id="X10"),
        ("&eacute;&#233;&#xe9;&nbsp;&amp;lt;", "ééé\u00a0&lt;"),
        ("a&#xD800;b", "a\ufffdb"),
        ("a<REF>no</REF>b<Ref name=x/>c", "abc"),
        ("A[[category:Cities|Oslo]]", "AOslo"),
        ("A\n[[Category:Cities|*]]", "A"),
        ("[[FILE:x.png|a]]b[[media:y.ogg|c]]", "b"),
        ("a\n\n\n\n\nb", "a\n\nb"),
        ("", ""),
    ],
)
def test_golden_pairs(wikitext, text):
    assert ENGLISH.clean(wikitext)[0] == text


def test_x8_local_names_of_the_namespaces_count():
    assert GERMAN.clean("[[Datei:B.png|mini|x]]de text")[0] == "de text"
    assert ENGLISH.clean("[[Datei:B.png|mini|x]]de text")[0] == "mini|xde text"
    assert GERMAN.clean("[[File:B.png|mini|x]]a[[Kategorie:Stadt]][[Category:City]]")[0] == "aStadtCity"


# Spec 5.3, of the wikis' siteinfo: language: names for media / for categories. Where a wiki has given up a name, it may still be in use.
SPEC = """bg: Медия, Файл, Картинка / Категория;  ca: Fitxer, Imatge / Categoria;  cs: Soubor, Média, Obrázok / Kategorie
da: Billede, Fil / Kategori;  de: Medium, Datei, Bild / Kategorie;  en: / ;  es: Medio, Archivo, Imagen / CAT, Categoría
fr: Média, Fichier / Catégorie;  hr: Mediji, DT, Slika, F, Datoteka / CT, KT, Kategorija;  hu: Kép, Fájl, Média / Kategória
it: Immagine / CAT, Categoria;  nl: Bestand, Afbeelding / Categorie;  pl: Plik, Grafika / Kategoria
pt: Multimédia, Ficheiro, Arquivo, Imagem / Categoria;  ro: Fişier, Imagine, Fișier / Categorie
ru: Медиа, Файл, Изображение / Категория, К;  sl: Slika, Datoteka / Kategorija
sr: Датотека, Medij, Slika, Медија, Datoteka, Медиј, Medija, Слика / Kategorija, Категорија;  sv: Fil, Bild / Kategori
uk: Медіа, Медиа, Файл, Изображение, Зображення / Категория, Категорія"""
NAMES = {
    language.strip(): tuple([name.strip() for name in some.split(",") if name.strip()] for some in names.split("/"))
    for language, _, names in (entry.partition(":") for entry in SPEC.replace("\n", ";").split(";"))
}


def test_the_paper_has_twenty_languages():
    paper = "bg ca cs da de en es fr hr hu it nl pl pt ro ru sl sr sv uk"
    assert " ".join(sorted(namespaces.LOCAL_MEDIA)) == " ".join(sorted(namespaces.LOCAL_CATEGORY)) == " ".join(NAMES) == paper


@pytest.mark.parametrize("language", NAMES)
def test_x8_each_languages_names_count_in_any_case_and_its_captions_leak_without_them(language):
    media, category = NAMES[language]
    own, foreign = cleaner(language), cleaner("xx")
    for name in ("File", "Image", "Media", *media):
        for spelled in (name, name.lower(), name.upper()):
            assert own.clean(f"[[{spelled}:B.png|mini|a [[nested|link]] in it]]text")[0] == "text", spelled
    for name in media:
        assert foreign.clean(f"[[{name}:B.png|mini|x]]text")[0] == "mini|xtext"
    for name in ("Category", *category):
        for spelled in (name, name.lower()):
            assert own.clean(f"text[[{spelled}:Oslo]][[{spelled}:Rome|Key]]")[0] == "textOsloKey", spelled
    for name in category:
        assert foreign.clean(f"text[[{name}:Oslo]]")[0] == f"text{name}:Oslo"


@pytest.mark.parametrize(
    ("wikitext", "opening"),
    [("Lead text.\n== H ==\nBody", "Lead text."), ("== H ==\nBody", ""), ("Only a lead", "Only a lead"), ("{{x}}\n\nA\n=H=\n", "A")],
)
def test_the_opening_is_what_comes_before_the_first_heading(wikitext, opening):
    text, chars = ENGLISH.clean(wikitext)
    assert text[:chars] == opening


@pytest.mark.parametrize(
    ("wikitext", "kept"),
    [
        ("A\n== See also ==\n{{x}}\n== References ==\n{{reflist}}", ["A"]),
        ("A\n== H ==\n=== S ===\nText", ["A", "H", "S \nText"]),
        ("A\n== H ==\n=== S ===\n{{x}}\n== I ==\nText", ["A", "I \nText"]),
        ("A\n=== S ===\n{{x}}\n== I ==\nText", ["A", "I \nText"]),
        ("A\n== H ==\n==== D ====\nText\n=== S ===\n== I ==\n", ["A", "H", "D \nText"]),
        ("== H ==\n__TOC__\n", [""]),
    ],
)
def test_headings_without_text_below_them_can_be_dropped(wikitext, kept):
    assert cleaner(headings="filled").clean(wikitext)[0].split("\n\n") == kept
    assert len(ENGLISH.clean(wikitext)[0].split("\n\n")) == wikitext.count("\n=") + 1 + wikitext.startswith("=")


def test_references_come_with_the_text_if_they_are_wanted():
    wikitext = "A<ref>{{cite web|url=http://a.org/?a&amp;b}}</ref>"
    assert ENGLISH(wikitext) == {"text": "A", "opening": 1}
    assert cleaner(references="all")(wikitext) == {"text": "A", "opening": 1, "references": ["http://a.org/?a&b"]}
    assert cleaner(references="redpajama")(wikitext)["references"] == ["http://a.org/?a&amp"]


PIECES = (
    "[[~]]~|~File:a~Category:b~{{~}}~<ref>~</ref>~<b>~</b>~''~'''~\n== ~ ==\n~\n*~\n{|\n|~\n|}~[http://a.b ~]~&amp;~text~ ~\n~__TOC__~<br>"
)


@settings(deadline=None, max_examples=300)
@given(
    st.lists(
        st.sampled_from([*PIECES.split("~"), "<!--", "-->", "<ref name=a />", "<math>x</math>", "<table>", "</table>", "<li>", "{{{"]),
        max_size=20,
    ).map("".join)
)
def test_walking_the_tree_comes_to_the_same_as_editing_it(wikitext):
    assert ENGLISH.clean(wikitext)[0] == edited(wikitext, namespaces.media("en"), namespaces.category("en"))


@settings(deadline=None, max_examples=100)
@given(st.text(max_size=200))
def test_text_without_markup_is_left_alone(text):
    plain = re.sub(r"[^\w ,.]|_", "", text).strip()
    assert ENGLISH.clean(plain)[0] == plain
