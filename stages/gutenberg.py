"""Project Gutenberg's headers, footers, licences and credits, taken off its books.

Touvron et al. 2023 (2.1) do not say how; PG-19, which RedPajama took, came without. The rule is the one that circulates with ports of the
package `gutenberg` (its strip_headers): of the first 600 lines the last marker of a start wins, behind 100 lines a marker of an end has the
book's end before it, legal notices between two marks go. Ours: markers with asterisks count in any case and indented, title lines that
they run on to belong to them, an end counts as soon as there was a start (there are books of few lines), and credits go as paragraphs.
A text without any marker stays as it is, byte for byte.
Cost, one core: 700 MB/s.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from curate.batch import Batch, Check, Removed, Spans
from curate.errors import CurateError
from curate.kernels.lines import rewrite
from curate.kernels.text import split_lines
from curate.stage import Checks, Transform
from stages import gutenberg_kernels as kernels

Lines = Annotated[int, Field(ge=0, le=1 << 40)]


@dataclass(frozen=True)
class Strip(Transform):
    """Take off what Project Gutenberg has put before, behind and around a book. Lines that go are booked.

    A marker is how a line begins: `*` stands for asterisks and spaces, a space for spaces, `...` for anything within the line.
    """

    starts: tuple[str, ...] = (  # the book begins behind the last; Llama 1 does not say; the rule's, in one form each, and the German
        "*START OF ...PROJECT GUTENBERG",
        "*BEGIN OF ...PROJECT GUTENBERG",
        "*END*THE SMALL PRINT",
        "*END THE SMALL PRINT",
        "*ENDE*THE SMALL PRINT",
    )
    credits: tuple[str, ...] = (  # the book begins behind such a paragraph; Llama 1 does not say; the rule's; the last six ours
        "The Project Gutenberg",
        "*The Project Gutenberg",
        "Produced by ",
        "E-text prepared by",
        "Etext prepared by",
        "This etext was p",
        "This Etext was p",
        "This eBook was p",
        "This file was produced",
        "This Project Gutenberg Etext",
        "Transcribed from the ",
        "Transcribed by ",
        "Scanned by ",
        "*Project Gutenberg is proud to cooperate",
        "Note: Please see Project Gutenberg",
        "Note: Project Gutenberg also has",
    )
    ends: tuple[str, ...] = (  # the book ends before the first; Llama 1 does not say; the rule's, and the German and French
        "*END OF ...PROJECT GUTENBERG",
        "*ENDE ...GUTENBERG",
        "*FIN D...PROJECT GUTENBERG",
        "*This is a COPYRIGHTED Project Gutenberg ...Above",
        "End of the Project Gutenberg",
        "End of The Project Gutenberg",
        "End of this Project Gutenberg",
        "End of Project Gutenberg",
        "END OF PROJECT GUTENBERG",
        "Ende dieses Proje",
        "Ende dieses Etextes",
        "Ende diese Project Gutenberg",
        "Fin de Project Gutenberg",
        "Fin du Project Gutenberg",
        "Fin de ce Project Gutenberg",
    )
    notices: tuple[str, str] = ("<<THIS ELECTRONIC VERSION OF", "SERVICE THAT CHARGES FOR DOWNLOAD")  # from, to; the rule's, else ours
    brackets: tuple[str, ...] = (  # blocks that go to the closing bracket, also "[Illustration"; ours: the rule has none
        "[Transcriber's Note: This etext was produced from",  # of magazines, below the title: what is above stays
    )
    notes: tuple[str, ...] = ()  # headings of last notes, such as "Transcriber": all behind goes; ours, as the rule: none
    start_lines: Lines = 600  # in which a start is looked for; Llama 1 does not say; the rule's
    credit_lines: Lines = 100  # behind the latest start in which credits are; the rule: 600; ours: further down, plays name producers
    end_lines: Lines = 100  # behind which an end counts without a start; Llama 1 does not say; the rule's
    credit: Literal["paragraph", "line"] = "paragraph"  # what goes of credits; ours: the rule's line leaves half a sentence

    def check(self) -> None:
        for name in ("starts", "credits", "ends", "notices", "brackets", "notes"):
            if any(not marker.strip() or marker[:1].isspace() or marker.startswith("...") for marker in getattr(self, name)):
                raise CurateError(f"{name}: a marker must begin with what a line begins with")

    def apply(self, batch: Batch) -> tuple[Batch, Checks, Removed]:
        lines = Spans(*split_lines(*batch.utf8))  # of these documents alone
        data = batch.utf8[0]
        opens, closes = self.notices
        markers = [self.starts, self.credits, self.ends, (opens,), (closes,), self.brackets, self.notes]
        bounds = self.start_lines, self.credit_lines, self.end_lines
        why = kernels.told_apart(data, *lines, *(tuple(kernels.compiled(m)) for m in markers), *bounds, self.credit == "paragraph")
        text, offsets, left = rewrite(data, *lines, why == kernels.OWN)
        written = pa.LargeStringArray.from_buffers(len(batch), pa.py_buffer(offsets), pa.py_buffer(text))
        gone = np.flatnonzero(why != kernels.OWN)
        begins, ends = np.searchsorted(gone, lines.first), np.searchsorted(gone, lines.last)
        line = (gone - np.repeat(lines.first, lines.count)[gone]).astype(np.int32)
        removed = Removed(begins, ends, line, np.zeros(len(gone), np.int64), why[gone] - np.int8(1), kernels.RULES)
        return batch.with_text(written), {"nothing_left": Check(left > 0)}, removed
