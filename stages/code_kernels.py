"""The loops behind `code`: facts of lines and characters, headers that are cut, words in the first lines. No threshold.

Lines are those of str.splitlines, letters and alphanumerics those of str.isalpha and str.isalnum, by Unicode 14.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numba import njit

from curate.kernels import unicode

ALNUM, ALPHA, BREAK = 1, 2, 4
BREAKS = (0x0A, 0x0B, 0x0C, 0x0D, 0x1C, 0x1D, 0x1E, 0x85, 0x2028, 0x2029)  # of str.splitlines
HASHES, MARKUP, OTHERS = 1, 2, 4  # of a language: `#` begins a comment; only `<!--` does; `;`, `%` and `!` do


@cache
def classes() -> np.ndarray:
    """uint8[1114112]: ALNUM, ALPHA and BREAK of each code point."""
    flags = unicode.flags()
    out = np.where(flags & unicode.LETTER, ALNUM | ALPHA, np.where(flags & (unicode.DIGIT | unicode.NUMBER), ALNUM, 0)).astype(np.uint8)
    out[list(BREAKS)] |= BREAK
    out.setflags(write=False)
    return out


@njit(cache=True)
def facts(data, start, end, classes):
    """int64[documents, 6]: lines, characters of the longest, characters, those that end lines, alphanumeric ones, letters."""
    out = np.zeros((len(start), 6), np.int64)
    for d in range(len(start)):
        i, stop = np.int64(start[d]), np.int64(end[d])
        lines = longest = chars = ending = alnum = alpha = 0
        line = 0
        while i < stop:
            c = np.int64(data[i])
            i += 1
            if c >= 0x80:
                if c < 0xE0 and i < stop:
                    c = (c & 0x1F) << 6 | (np.int64(data[i]) & 0x3F)
                    i += 1
                elif c < 0xF0 and i + 1 < stop:
                    c = (c & 0x0F) << 12 | (np.int64(data[i]) & 0x3F) << 6 | (np.int64(data[i + 1]) & 0x3F)
                    i += 2
                elif i + 2 < stop:
                    c = (c & 0x07) << 18 | (np.int64(data[i]) & 0x3F) << 12 | (np.int64(data[i + 1]) & 0x3F) << 6
                    c = min(c | (np.int64(data[i + 2]) & 0x3F), 0x10FFFF)
                    i += 3
            kind = classes[c]
            chars += 1
            if kind & 4:
                if c == 0x0D and i < stop and data[i] == 0x0A:
                    i += 1
                    chars += 1
                    ending += 1
                ending += 1
                lines += 1
                longest = max(longest, line)
                line = 0
            else:
                line += 1
                alnum += kind & 1
                alpha += (kind >> 1) & 1
        if line:
            lines += 1
            longest = max(longest, line)
        out[d, 0], out[d, 1], out[d, 2], out[d, 3], out[d, 4], out[d, 5] = lines, longest, chars, ending, alnum, alpha
    return out


@njit(cache=True, inline="always")
def _lower(b):
    return b | 0x20 if 0x41 <= b <= 0x5A else b


@njit(cache=True)
def _holds(data, i, stop, needle):
    """Where an ASCII needle in lower case begins, in any case; -1 for nowhere."""
    size = len(needle)
    first = needle[0]
    for at in range(i, stop - size + 1):
        if _lower(data[at]) == first:
            k = 1
            while k < size and _lower(data[at + k]) == needle[k]:
                k += 1
            if k == size:
                return at
    return -1


@njit(cache=True)
def _find2(data, i, stop, a, b):
    """Where two bytes stand one after the other; -1 for nowhere."""
    for at in range(i, stop - 1):
        if data[at] == a and data[at + 1] == b:
            return at
    return -1


@njit(cache=True, inline="always")
def _copy(data, i, stop, out, at):
    """Append bytes; where the next ones go."""
    out[at : at + stop - i] = data[i:stop]
    return at + stop - i


@njit(cache=True)
def cut_redpajama(data, start, end, copyright):
    """(bytes, int64 offsets) of the documents without the header that RedPajama's code takes off."""
    out = np.empty(len(data), np.uint8)
    offsets = np.zeros(len(start) + 1, np.int64)
    at = 0
    for d in range(len(start)):
        i, stop = start[d], end[d]
        first, last = i, i  # what is cut
        opens = _find2(data, i, stop, 0x2F, 0x2A)
        closes = _find2(data, opens + 2, stop, 0x2A, 0x2F) if opens >= 0 else -1
        if closes >= 0:
            if _holds(data, opens, closes + 2, copyright) >= 0:
                first, last = opens, closes + 2
        else:
            line = i
            while line <= stop:  # the empty piece behind the last line feed is a line of its own
                here = data[line] if line < stop else 0x0A
                after = data[line + 1] if line + 1 < stop else 0
                if not (here == 0x0A or here == 0x23 or (here == 0x2F and after == 0x2F) or (here == 0x2D and after == 0x2D)):
                    break
                while line < stop and data[line] != 0x0A:
                    line += 1
                line += 1
            last = min(line, stop)
        at = _copy(data, i, first, out, at)
        at = _copy(data, last, stop, out, at)
        offsets[d + 1] = at
    return out[:at], offsets


@njit(cache=True)
def _holds_one(data, i, stop, needles, ends):
    """Whether one of some needles is there."""
    low = 0
    for high in ends:
        if _holds(data, i, stop, needles[low:high]) >= 0:
            return True
        low = high
    return False


@njit(cache=True)
def _mentions(data, i, stop, needles, ends, author):
    """Whether a comment speaks of copyright, a licence or an author."""
    if _holds_one(data, i, stop, needles, ends):
        return True
    at = i
    while True:  # a word, or authors, authored, not authorise
        at = _holds(data, at, stop, author)
        if at < 0:
            return False
        at += len(author)
        b = _lower(data[at]) if at < stop else 0x20
        if b == 0x73 or b == 0x65 or not 0x61 <= b <= 0x7A:
            return True


@njit(cache=True)
def _line_end(data, i, stop):
    """Behind the line feed."""
    while i < stop and data[i] != 0x0A:
        i += 1
    return min(i + 1, stop)


@njit(cache=True)
def _skip_blanks(data, i, stop):
    while i < stop and (data[i] == 0x20 or data[i] == 0x09 or data[i] == 0x0D):
        i += 1
    return i


@njit(cache=True)
def _starts(data, i, stop, text):
    if stop - i < len(text):
        return False
    for k in range(len(text)):  # noqa: SIM110  (no generators in a kernel)
        if _lower(data[i + k]) != text[k]:
            return False
    return True


@njit(cache=True)
def _marker(data, i, stop, language, directives, ends):
    """What kind of line comment begins here: the first byte of its mark, or 0."""
    b = data[i] if i < stop else 0
    after = data[i + 1] if i + 1 < stop else 0x0A
    if language & 2:
        return 0
    if (b == 0x2F and after == 0x2F) or (b == 0x2D and after == 0x2D and not (i + 2 < stop and data[i + 2] == 0x5B)):
        return b
    if language & 4 and (b == 0x3B or b == 0x25 or b == 0x21):
        return b
    if b == 0x23 and language & 1:
        k = i + 1
        while k < stop and data[k] == 0x20:
            k += 1
        low = 0
        for high in ends:  # of a preprocessor
            if _starts(data, k, stop, directives[low:high]):
                return 0
            low = high
        return b
    return 0


@njit(cache=True)
def _is_for_tools(data, i, stop, tools, ends):
    """Whether a line comment is one that a compiler or another tool reads."""
    while i < stop and (data[i] == 0x23 or data[i] == 0x2F or data[i] == 0x3B or data[i] == 0x25 or data[i] == 0x20 or data[i] == 0x09):
        i += 1
    low = 0
    for high in ends:
        if _starts(data, i, stop, tools[low:high]):
            return True
        low = high
    return False


@njit(cache=True)
def _run_end(data, i, stop, marker, language, directives, ends):
    """Behind the line comments of one kind that stand below each other."""
    while i < stop and _marker(data, _skip_blanks(data, i, stop), stop, language, directives, ends) == marker:
        i = _line_end(data, i, stop)
    return i


@njit(cache=True)
def _block(data, i, stop, language):
    """Behind the block comment that begins here; -1 if none does, or it has no end."""
    b = data[i] if i < stop else 0
    c = data[i + 1] if i + 1 < stop else 0
    if b == 0x3C and c == 0x21 and i + 3 < stop and data[i + 2] == 0x2D and data[i + 3] == 0x2D:  # <!--
        at = i + 4
        while True:
            at = _find2(data, at, stop, 0x2D, 0x2D)
            if at < 0 or (at + 2 < stop and data[at + 2] == 0x3E):
                return at + 3 if at >= 0 else -1
            at += 1
    if language & 2:
        return -1
    closes = -1
    if b == 0x2F and c == 0x2A:
        closes = _find2(data, i + 2, stop, 0x2A, 0x2F)
    elif b == 0x28 and c == 0x2A:
        closes = _find2(data, i + 2, stop, 0x2A, 0x29)
    elif b == 0x7B and c == 0x2D:
        closes = _find2(data, i + 2, stop, 0x2D, 0x7D)
    elif b == 0x2D and c == 0x2D and i + 3 < stop and data[i + 2] == 0x5B and data[i + 3] == 0x5B:
        closes = _find2(data, i + 4, stop, 0x5D, 0x5D)
    return closes + 2 if closes >= 0 else -1


@njit(cache=True)
def _has_word(data, i, stop, classes):
    """Whether there is a letter or digit, or anything beyond ASCII."""
    for k in range(i, stop):  # noqa: SIM110
        if data[k] >= 0x80 or classes[data[k]] & 1:
            return True
    return False


@njit(cache=True)
def cut_mentions(data, start, end, language, classes, needles, needle_ends, author, directives, directive_ends, tools, tool_ends):
    """(bytes, int64 offsets) of the documents without those comments at their top that speak of copyright, a licence or an author.

    The top ends at the first line of code, but for `#!`, `<?php` and `<?xml`. Line comments below each other are one header if any of
    them speaks of copyright or a licence, and go but for those that tools read; of others a paragraph is judged at a time, for an author.
    """
    out = np.empty(len(data), np.uint8)
    offsets = np.zeros(len(start) + 1, np.int64)
    at = 0
    for d in range(len(start)):
        i, stop = start[d], end[d]
        cut = False  # the last comment
        judged = i  # up to here line comments are no header as a whole
        while i < stop:
            text = _skip_blanks(data, i, stop)
            if text < stop and data[text] == 0x0A:
                if not cut:
                    at = _copy(data, i, text + 1, out, at)
                i = text + 1
                continue
            opens = (data[text] if text < stop else 0), data[text + 1] if text + 1 < stop else 0
            if (opens == (0x23, 0x21) and text == start[d] and not language[d] & 2) or opens == (0x3C, 0x3F):
                last, cut = _line_end(data, i, stop), False
            else:
                last = _block(data, text, stop, language[d])
                if last >= 0:
                    rest = _skip_blanks(data, last, stop)
                    cut = _mentions(data, text, last, needles, needle_ends, author)
                    if rest >= stop or data[rest] == 0x0A:
                        last = min(rest + 1, stop)
                else:
                    marker = _marker(data, text, stop, language[d], directives, directive_ends)
                    if not marker:
                        break
                    if i >= judged:
                        judged = _run_end(data, i, stop, marker, language[d], directives, directive_ends)
                        if _holds_one(data, i, judged, needles, needle_ends):
                            while i < judged:
                                last = _line_end(data, i, stop)
                                if _is_for_tools(data, _skip_blanks(data, i, last), last, tools, tool_ends):
                                    at = _copy(data, i, last, out, at)
                                i = last
                            cut = True
                            continue
                    last, parted, words = i, False, False
                    while last < stop:  # a paragraph, with the lines without a word around it
                        begins = _skip_blanks(data, last, stop)
                        if _marker(data, begins, stop, language[d], directives, directive_ends) != marker:
                            break
                        ends = _line_end(data, last, stop)
                        said = _has_word(data, begins, ends, classes)
                        if said and parted:
                            break
                        words = words or said
                        parted = words and not said
                        last = ends
                    cut = _mentions(data, i, last, needles, needle_ends, author)
            if not cut:
                at = _copy(data, i, last, out, at)
            i = last
        at = _copy(data, i, stop, out, at)
        offsets[d + 1] = at
    return out[:at], offsets


@njit(cache=True)
def first_lines_hold(data, start, end, lines, needles, ends):
    """bool per document: whether its first lines hold one of the needles, in any case."""
    out = np.zeros(len(start), np.bool_)
    for d in range(len(start)):
        i, stop = start[d], start[d]
        for _ in range(lines):
            stop = _line_end(data, stop, end[d])
        low = 0
        for high in ends:
            if _holds(data, i, stop, needles[low:high]) >= 0:
                out[d] = True
                break
            low = high
    return out
