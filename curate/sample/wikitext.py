"""The sample's encyclopedia, an article at a time: documentation reworded and marked up as editors of Wikipedia do.

What the page's own text is stands in sentences that hold no mark of wikitext. Around it comes what readers of dumps stumble over: templates
over many lines, files with links in their captions, tables and lists with references in them, references by name, mathematics, comments.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from string import Template

from curate.sample.languages import LANGUAGES
from curate.sample.rendered import Block

SENTENCE = re.compile(r"[A-Z][^\[\]{}<>|`*\\~]*[.!?]")
FULL_STOP = re.compile(r"(?<=[.!?])(?<!e\.g\.)(?<!i\.e\.) (?=[A-Z])")
WORD = re.compile(r"(?<= )[a-z]{6,12}(?=[ ,.])")
MARKS = re.compile(r"[\[\]{}<>|#`*\\~=_]+|'{2,}")
VERBS = (
    *(
        "Add",
        "Build",
        "Call",
        "Check",
        "Compute",
        "Construct",
        "Contain",
        "Convert",
        "Create",
        "Define",
        "Encode",
        "Execute",
        "Find",
        "Get",
    ),
    *(
        "Generate",
        "Load",
        "Make",
        "Open",
        "Parse",
        "Print",
        "Provide",
        "Raise",
        "Read",
        "Remove",
        "Represent",
        "Return",
        "Run",
        "Send",
        "Set",
    ),
    *("Start", "Store", "Update", "Use", "Validate", "Wait", "Write"),
)
VERB = re.compile(rf"({'|'.join(VERBS)})s? (?=[a-z])")
REWORDED = (  # a manual speaks to its reader, an encyclopedia about its subject
    (re.compile(r"\bNote that ([a-z])"), lambda m: m[1].upper()),
    (re.compile(r"\bYou (can|may|must|should)\b"), r"Users \1"),
    (re.compile(r"\byou (can|may|must|should)\b"), r"users \1"),
    (re.compile(r"\b(?:If|if) you (?=[a-z])"), "where users "),
    (re.compile(r"\byour\b"), "the"),
    (re.compile(r"\bThis (function|method|class|module)\b"), r"The \1"),
    (re.compile(r"\bthis (function|method|class|module)\b"), r"the \1"),
    (re.compile(r"\b(does|do|is|are|was|has|have|should|would|must)n't\b"), r"\1 not"),
    (re.compile(r"\bcan't\b"), "cannot"),
    (re.compile(r"\bIt's\b"), "It is"),
    (re.compile(r"\bit's\b"), "it is"),
    (re.compile(r"\be\.g\.,?"), "for example"),
    (re.compile(r"\bi\.e\.,?"), "that is"),
    (re.compile(r"\bwill be\b"), "is"),
    (re.compile(r"\bin order to\b"), "to"),
    (re.compile(r"\bspecified\b"), "given"),
    (re.compile(r"^where users"), "Where users"),
)
REFERENCES = tuple(
    map(
        Template,
        (
            "<ref>{{cite web|url=$url|title=$title|website=$site|access-date=$date}}</ref>",
            "<ref>{{cite web|title=$title|url=$url}}</ref>",
            "<ref>{{Cite web |url=$url |title=$title |archive-url=https://web.archive.org/web/20190304112233/$url |url-status=live}}</ref>",
            "<ref>[$url $title], $site.</ref>",
            "<ref>$url</ref>",
            '<ref name="$name">[$url $title]</ref>',
            "<ref name=$name>{{cite news|last=$last|first=$first|url=$url|title=$title|work=$site|date=$date}}</ref>",
            "<ref>{{cite web\n | url = $url\n | title = $title\n | publisher = $site\n | access-date = $date\n}}</ref>",
            '<ref group="note">There is more about it in [$url $title],\nread on $date.</ref>',
        ),
    )
)
REFERENCES_DE = tuple(
    map(
        Template,
        (
            "<ref>{{Internetquelle|url=$url|titel=$title|werk=$site|abruf=2020-01-15}}</ref>",
            '<ref name="$name">[$url $title]</ref>',
            "<ref>{{Internetquelle\n |autor=$first $last\n |url=$url\n |titel=$title\n}}</ref>",
        ),
    )
)
MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December")
PEOPLE = tuple(name for language in ("de", "fr", "es", "it", "nl") for name in LANGUAGES[language].names)
HISTORY = tuple(
    map(
        Template,
        (
            "Work on it began in $year, when $name rented an office {{convert|$number|km|mi}} outside the city.",
            "The first version was shown to a small audience in $year&nbsp;and was received with interest.",
            "$name described the idea in a letter that was published only many years later.",
            "Between $year and $later&nbsp;&ndash; a quiet period for the project&nbsp;&ndash; hardly any changes were made.",
            "In $year the printed manual weighed {{convert|1.$number|kg|lb}} and was given away at fairs.",
            "According to $name, the design owes much to earlier work on [[typesetting]] and on [[compiler]]s.",
            "A meeting of its users has been held every autumn since $year, at first in a [[library]] and later in a theatre.",
            "The name was chosen by $name, who had heard it ({{lang|de|Werkstatt}}, 'workshop') during a stay in [[Vienna]].",
            "After the fire of $year most of the early notes were lost, and what is known about them comes from interviews.",
            "Its maintainers moved to another system for reporting problems in $later, which took them about $number weeks.",
            "Critics found it hard to learn, while schools and small companies praised that it could be read without help.",
            "By $later there were more than $number translations of its introduction, most of them made by volunteers.",
        ),
    )
)
HEADINGS = ("Overview", "Design", "Behaviour", "Use in practice", "Operation", "Details", "Related work", "Limits")
SUBJECTS = ("part of the standard tools", "component", "facility", "building block", "collection of routines", "concept")
FORMULAS = (r"f(x) = \sum_{i=0}^{n} a_i x^i", r"\frac{n(n+1)}{2}", r"O(n \log n)", r"p = 1 - (1 - s^r)^b", r"\sqrt{a^2 + b^2}")


@dataclass(frozen=True)
class Cited:
    """A page that an article refers to, its address spelled in one of many ways, and what the article takes from it."""

    url: str
    title: str
    site: str
    sentences: tuple[str, ...] = ()


def plain(text: str) -> str:
    """Fit for a title or a label."""
    return " ".join("".join(c if c.isprintable() else " " for c in MARKS.sub(" ", text)).split())


def sentences(body: Iterable[Block]) -> list[str]:
    """The whole sentences of a page that hold nothing that means something in wikitext or is not allowed in XML."""
    return [
        sentence
        for block in body
        if block.role in ("text", "item")
        for sentence in FULL_STOP.split(block.text.lstrip("-+• "))
        if SENTENCE.fullmatch(sentence) and sentence.isprintable() and sentence.count(" ") >= 4 and not re.search("''|://|__", sentence)
    ]


def reworded(sentence: str, rng: Random) -> str:
    """In the words of an article about its subject."""
    verb = VERB.match(sentence)
    if verb:
        ending = "es" if verb[1].endswith(("s", "sh", "ch", "x")) else "s"
        sentence = f"{rng.choice(('It', 'The routine', 'This part of it'))} {verb[1].lower()}{ending} {sentence[verb.end() :]}"
    for pattern, replacement in REWORDED:
        sentence = pattern.sub(replacement, sentence)
    return sentence


class Editor:
    """Writes one article: keeps its references by name and the order in which pages are cited."""

    def __init__(self, title: str, links: Sequence[str], rng: Random, references: Sequence[Template] = REFERENCES):
        """`links` are titles of other articles."""
        self.title, self.links, self.rng = title, links, rng
        self._references = references
        self._named: list[str] = []
        self._cited = 0

    def article(self, parent: str, own: Sequence[str], cited: Sequence[Cited], others: Sequence[Cited], code: str) -> str:
        """The wikitext. `parent` is what the subject belongs to, `own` are its sentences, `others` are addresses on no crawl."""
        rng = self.rng
        quoted = [(self.paragraph(c.sentences) or self._told(rng.choice(HISTORY))) + self.reference(c) for c in cited]
        paragraphs = [self.paragraph(own[at : at + 4]) for at in range(0, len(own), 4)] + quoted[1:]
        rng.shuffle(paragraphs)
        each = max(1, -(-len(paragraphs) // 4))  # to a section
        opening = f"'''{self.title}''' is a {rng.choice(SUBJECTS)} of [[{parent}|{parent.capitalize()}]]"
        opening += ", which is written in the [[programming language]] [[Python (programming language)|Python]]."
        parts = [self._above(parent, others), " ".join([opening, *quoted[:1]])]
        for heading, at in zip(rng.sample(HEADINGS, 4), range(0, len(paragraphs), each), strict=False):
            parts += [f"== {heading} ==", *paragraphs[at : at + each], *self._aside(heading)]
        parts += ["== History ==", *self._history(others)]
        if code:
            parts += ["== Example ==", f'<syntaxhighlight lang="python">\n{code}\n</syntaxhighlight>']
        return "\n\n".join([*parts, self._below(parent, others)])

    def paragraph(self, text: Sequence[str]) -> str:
        """Sentences reworded, with links and emphasis in them; some close with a reference that was named before."""
        found = []
        for sentence in (reworded(s, self.rng) for s in text):
            words = list(WORD.finditer(sentence))
            if words and self.rng.random() < 0.5:
                word = self.rng.choice(words)
                sentence = sentence[: word.start()] + self._marked(word.group()) + sentence[word.end() :]
            found.append(sentence)
        again = f'<ref name="{self.rng.choice(self._named)}" />' if found and self._named and self.rng.random() < 0.3 else ""
        return " ".join(found) + again

    def reference(self, cited: Cited) -> str:
        """A `<ref>` to a page, in one of the ways in which they are written."""
        self._cited += 1
        form, name = self.rng.choice(self._references), f"source{self._cited}"
        if "$name" in form.template:
            self._named.append(name)
        first, last = self.rng.choice(PEOPLE).split(" ", 1)
        return form.substitute(
            url=cited.url, title=plain(cited.title), site=plain(cited.site), name=name, first=first, last=last, date=self._date()
        )

    def _marked(self, word: str) -> str:
        forms = [f"[[{word}]]", f"[[{word.capitalize()}|{word}]]", f"''{word}''", f"[[{word} (computing)|{word}]]", f"[[#History|{word}]]"]
        if self.links:
            forms.append(f"[[{self.rng.choice(self.links)}|{word}]]")
        return self.rng.choice(forms) if not word.endswith("s") else f"[[{word[:-1]}]]s"

    def _above(self, parent: str, others: Sequence[Cited]) -> str:
        """What stands before the first sentence: short description, hatnote, box."""
        rng = self.rng
        lines = [f"{{{{short description|Part of {parent}}}}}"]
        if rng.random() < 0.3:
            lines.append("{{about|the software|the tool of the same name|Workshop#Tools}}")
        if rng.random() < 0.3:
            lines.append(f"{{{{Use dmy dates|date={rng.choice(MONTHS)} {rng.randrange(2012, 2020)}}}}}")
        if rng.random() < 0.6:
            cited = self.reference(others[0]) if others and rng.random() < 0.5 else ""
            lines += [
                "{{Infobox software",
                f"| name             = {self.title}",
                f"| logo             = [[File:{self.title} logo.svg|64px|alt=Logo]]",
                f"| author           = [[{rng.choice(PEOPLE)}]]",
                f"| released         = {{{{Start date and age|{rng.randrange(1995, 2015)}|{rng.randrange(1, 13)}}}}}{cited}",
                "| platform         = {{plainlist|",
                "* [[Linux]]",
                "* [[Windows]]<!-- since version 2 -->",
                "}}",
                f"| website          = {{{{URL|https://{rng.choice(('project', 'www'))}.software.example/}}}}",
                "}}",
            ]
        return "\n".join(lines)

    def _aside(self, heading: str) -> Iterator[str]:
        """Between the paragraphs of a section: a file, a list, a formula, a comment."""
        rng, word = self.rng, self.title
        kind = rng.randrange(8)
        if kind == 0:
            caption = (
                f"The parts of ''{self.title}'' as a [[diagram]], with those marked that [[{rng.choice(PEOPLE)}|its author]] drew first"
            )
            name = f"{rng.choice(('File', 'Image'))}:{word} {heading.lower()}.{rng.choice(('png', 'svg', 'jpg'))}"
            yield f"[[{name}|thumb|right|220px|{caption}]]"
        elif kind == 1:
            yield "\n".join([f"=== Parts of {word} ===", *(f"* {rng.choice(SUBJECTS)}, [[{name}]]" for name in rng.sample(PEOPLE, 3))])
        elif kind == 2:
            most = f"10<sup>{rng.randrange(3, 9)}</sup>"
            yield f"Its cost is given by <math>{rng.choice(FORMULAS)}</math> for ''n'' entries, of which there are {most} at most."
        elif kind == 3:
            yield f"<!-- Please do not add {word} here before\nit has been discussed on the talk page. -->"
        elif kind == 4:
            yield "; Order\n: The order in which entries are given\n; Size\n: How many there are<br />at one time"
        elif kind == 5:
            yield f"<blockquote>{self._told(rng.choice(HISTORY))}</blockquote>"
        elif kind == 6:
            yield f"<gallery>\nFile:{word} 1.jpg|The first screen\nFile:{word} 2.jpg|''Another'' screen\n</gallery>"

    def _history(self, others: Sequence[Cited]) -> Iterator[str]:
        rng = self.rng
        text = " ".join(map(self._told, rng.sample(HISTORY, rng.randrange(2, 5))))
        yield text + "".join(map(self.reference, others[1:2]))
        if rng.random() < 0.5:
            rows = ['{| class="wikitable sortable"', f"|+ Versions of {self.title}", "! Version !! Year !! Notes"]
            year = rng.randrange(1996, 2008)
            for number in range(1, rng.randrange(3, 6)):
                cited = "".join(map(self.reference, others[2:3])) if number == 1 else ""
                rows += [
                    "|-",
                    f'| {number}.0 || {year + 2 * number}{cited} || style="text-align:left" | {rng.choice(("Rewritten", "Faster"))}',
                ]
            yield "\n".join([*rows, "|}"])

    def _below(self, parent: str, others: Sequence[Cited]) -> str:
        rng = self.rng
        lines = ["== See also ==", *(f"* [[{title}]]" for title in rng.sample(self.links, min(3, len(self.links)))), ""]
        lines += ["== Notes ==", '{{reflist|group="note"}}', "", "== References ==", "{{Reflist|30em}}", ""]
        if others:
            lines += [
                "== External links ==",
                *(f"* [{other.url} {plain(other.title)}] at {plain(other.site)}" for other in others[-1:]),
                "",
            ]
        if rng.random() < 0.3:
            lines += [f"{{{{{parent}|state=collapsed}}}}", ""]
        lines += [f"{{{{DEFAULTSORT:{self.title}}}}}", f"[[Category:{parent}|{self.title[0]}]]", "[[Category:Articles made for a sample]]"]
        if rng.random() < 0.3:
            lines += [f"[[{language}:{self.title}]]" for language in rng.sample(("de", "fr", "es", "ru"), 2)]
        return "\n".join(lines) + ("\n\n{{software-stub}}" if rng.random() < 0.2 else "")

    def _told(self, fact: Template) -> str:
        year = self.rng.randrange(1970, 2010)
        later, number = year + self.rng.randrange(2, 10), self.rng.randrange(2, 90)
        return fact.substitute(year=year, later=later, number=number, name=f"[[{self.rng.choice(PEOPLE)}]]")

    def _date(self) -> str:
        return f"{self.rng.randrange(1, 29)} {self.rng.choice(MONTHS)} {self.rng.randrange(2008, 2020)}"


def german(title: str, text: Sequence[str], cited: Sequence[Cited], rng: Random) -> str:
    """A short article of the German Wikipedia about a place, with its names for files, categories and templates."""
    editor = Editor(title, (), rng, REFERENCES_DE)
    opening = f"'''{title}''' ist ein [[Ort]] mit {rng.randrange(2, 90)}0 Einwohnern."
    paragraphs = [line + "".join(map(editor.reference, cited[at :: len(text)])) for at, line in enumerate(text)]
    market = f"[[Datei:{title} Markt.jpg|mini|Der [[Marktplatz]]]]"
    box = f"{{{{Infobox Ort\n| Name = {title}\n| Bild = {market}\n| Höhe = {rng.randrange(20, 900)}\n}}}}"
    picture = f"[[Datei:{title} Kirche.jpg|mini|hochkant|Die Kirche, im Hintergrund das [[Rathaus]]]]"
    below = f"== Einzelnachweise ==\n<references />\n\n{{{{SORTIERUNG:{title}}}}}\n[[Kategorie:Ort im Beispiel]]"
    return "\n\n".join([box, opening, paragraphs[0], "== Geschichte ==", picture, *paragraphs[1:], below])
