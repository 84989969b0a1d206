"""The words of a text by their description (`split_words`), on str: slow, and to be read."""

from __future__ import annotations

import re
import unicodedata

THAI, LAO, KHMER = "กขคนมยรลวสหทษบภ", "ກຂສບຍດ", "កខសភមរ"
LEADING = "เแโใไເແໂໃໄ"
TRAILING = "ะาำๆะາຳ"  # letters that go behind a consonant of theirs
STACKING = "\u17d2\u1039"
CLITIC = re.compile("['’](?:[stdm]|ll|[rv]e)", re.IGNORECASE | re.ASCII)
URL_STOPS = re.compile(r'[\x00-\x20"<>\x7f]')
BEHIND_URL = "!'),.:;?]}*"

ODD = [
    *"abcdstmlvreASTM", *"éßЖд", "ŉ", "ll", "ve", "re", *"''’’..,,·", "...", "…", *"015٣²Ⅷ½_", "‿", "://", "http://", "https://a.b/c", *"/:;\"<>()-#•",
    *"\u0301\u0308\u00ad\u200d\ufe0f\u200e\ufeff\u20e3", *"中国々〇ひカーㄅ", "한글", *"กนาไเๆ", "\u0e34", "\u0e48", *"ກະາໄ", "\u0eb5", *"កខ", "\u17d2", "\u17b6",
    "👩", "💻", "👩\u200d💻", "👍🏽", "❤\ufe0f", *"，。“”、", *" \n\t\r\u00a0\u3000\u200b\u2028\x85", *"\x00\x07\x7f", "\ufffd", "\ue000",
]  # fmt: skip


def is_mark(c: str) -> bool:
    return c != "\u200b" and (unicodedata.category(c)[0] == "M" or unicodedata.category(c) == "Cf")


def is_break(c: str) -> bool:
    return c.isspace() or c == "\u200b" or unicodedata.category(c) == "Cc"


def is_word(c: str) -> bool:
    return unicodedata.category(c)[0] in "LN" or unicodedata.category(c) == "Pc"


def is_alone(c: str) -> bool:
    return c.isalpha() and (ord(c) >= 0x1B000 or unicodedata.name(c, "").startswith(("CJK", "HIRAGANA", "BOPOMOFO"))) and _in_blocks(c)


def _in_blocks(c: str) -> bool:
    blocks = ("぀ゟ", "\u3100\u312f", "\u31a0\u31bf", "㐀\u4dbf", "一\u9fff", "豈\ufaff", "\U0001b000\U0001b16f", "\U00020000\U0003ffff")
    return any(low <= c <= high for low, high in blocks)


def is_complex(c: str) -> bool:
    return c in THAI + LAO + KHMER + LEADING + TRAILING


def is_letter(c: str) -> bool:
    """Of a script with spaces."""
    return c.isalpha() and not is_alone(c) and not is_complex(c)


def words_of(text: str) -> list[str]:
    """Characters one by one, each joined to the word before it or not."""
    words = [""]
    at = 0
    while at < len(text):
        piece = text[at]
        if is_break(piece):
            words.append("")
        else:
            url = url_at(text, at) if in_word(words[-1]) else ""
            if url:
                piece = url
            elif not joins(words[-1], piece, text[at + 1 : at + 2], text[at:]):
                words.append("")
            words[-1] += piece
        at += len(piece)
    return [w for w in words if w]


def in_word(word: str) -> bool:
    return bool(word) and (is_word(word[0]) or bool(CLITIC.match(word)) or word in "'’")


def joins(word: str, c: str, after: str, rest: str) -> bool:
    """Whether a character continues the word before it."""
    if not word or is_mark(c):
        return bool(word)
    base = next((b for b in reversed(word) if not is_mark(b)), "")
    if not in_word(word) or word == c:
        return c == base and not is_word(c)
    if is_word(c):
        if c in THAI + LAO + KHMER + LEADING:
            return (base and base in LEADING) or word[-1] in STACKING
        return not (is_alone(c) or (base and is_alone(base))) and is_complex(c) == is_complex(base)
    if is_letter(base) and c in ".'’·":
        if clitic := CLITIC.match(rest):
            behind = rest[clitic.end() : clitic.end() + 1]
            if not behind or not (is_word(behind) or is_mark(behind)):
                return False
        if after and is_letter(after):
            return True
        by_itself = len(word) == 1 or word[-2:-1] == "."
        return c == "." and after != "." and by_itself
    return base.isdecimal() and c in ".," and after.isdecimal()


def url_at(text: str, at: int) -> str:
    """`://` and what follows it, if that is a URL."""
    if not text.startswith("://", at):
        return ""
    end = at + 3
    while end < len(text) and not URL_STOPS.match(text[end]) and not ends_url(text[end]):
        end += 1
    found = text[at:end].rstrip(BEHIND_URL) if end > at + 3 else ""
    return found if len(found) > 3 else ""


def ends_url(c: str) -> bool:
    """Beyond ASCII."""
    unspaced = is_alone(c) or is_complex(c)
    return ord(c) > 0x7F and (is_break(c) or unicodedata.category(c)[0] in "PS" or unspaced)
