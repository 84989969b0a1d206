"""How the Wikipedias of Llama 1's 20 languages call the namespaces of files and of categories, from their siteinfo.

The English names hold everywhere. What a wiki calls them today stands in its dumps too, but not what it called them before.
"""

from __future__ import annotations

from collections.abc import Iterable

MEDIA = ("File", "Image", "Media")
CATEGORY = ("Category",)

LOCAL_MEDIA: dict[str, tuple[str, ...]] = {
    "bg": ("Медия", "Файл", "Картинка"),
    "ca": ("Fitxer", "Imatge"),
    "cs": ("Soubor", "Média", "Obrázok"),
    "da": ("Billede", "Fil"),
    "de": ("Medium", "Datei", "Bild"),
    "en": (),
    "es": ("Medio", "Archivo", "Imagen"),
    "fr": ("Média", "Fichier"),
    "hr": ("Mediji", "DT", "Slika", "F", "Datoteka"),
    "hu": ("Kép", "Fájl", "Média"),
    "it": ("Immagine",),
    "nl": ("Bestand", "Afbeelding"),
    "pl": ("Plik", "Grafika"),
    "pt": ("Multimédia", "Ficheiro", "Arquivo", "Imagem"),
    "ro": ("Fişier", "Imagine", "Fișier"),
    "ru": ("Медиа", "Файл", "Изображение"),
    "sl": ("Slika", "Datoteka"),
    "sr": ("Датотека", "Medij", "Slika", "Медија", "Datoteka", "Медиј", "Medija", "Слика"),
    "sv": ("Fil", "Bild"),
    "uk": ("Медіа", "Медиа", "Файл", "Изображение", "Зображення"),
}
LOCAL_CATEGORY: dict[str, tuple[str, ...]] = {
    "bg": ("Категория",),
    "ca": ("Categoria",),
    "cs": ("Kategorie",),
    "da": ("Kategori",),
    "de": ("Kategorie",),
    "en": (),
    "es": ("CAT", "Categoría"),
    "fr": ("Catégorie",),
    "hr": ("CT", "KT", "Kategorija"),
    "hu": ("Kategória",),
    "it": ("CAT", "Categoria"),
    "nl": ("Categorie",),
    "pl": ("Kategoria",),
    "pt": ("Categoria",),
    "ro": ("Categorie",),
    "ru": ("Категория", "К"),
    "sl": ("Kategorija",),
    "sr": ("Kategorija", "Категорија"),
    "sv": ("Kategori",),
    "uk": ("Категория", "Категорія"),
}


def media(language: str, more: Iterable[str] = ()) -> list[str]:
    """Names of the namespaces of files in a language, with what a dump calls them."""
    return _joined(MEDIA, LOCAL_MEDIA.get(language, ()), more)


def category(language: str, more: Iterable[str] = ()) -> list[str]:
    """Names of the namespace of categories in a language, with what a dump calls it."""
    return _joined(CATEGORY, LOCAL_CATEGORY.get(language, ()), more)


def _joined(*names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(name for some in names for name in some if name))
