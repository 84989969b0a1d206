"""LaTeX papers: the golden pairs A1 to A14 in both modes, what TeX itself would read, and bombs in bounded time and memory."""

from __future__ import annotations

import json
import re
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from curate.batch import Batch
from curate.errors import RecipeError
from curate.worker import outcome
from stages import latex, latex_project, latex_redpajama
from stages.latex import Clean
from stages.latex_comments import uncomment
from stages.latex_project import Project

HEAD = "\\section{S}\n"


def batch_of(*papers: dict[str, str] | str, encoding: str = "utf-8") -> Batch:
    files = [paper if isinstance(paper, dict) else {"a.tex": paper} for paper in papers]
    data = {"id": [f"a:{n}" for n in range(len(files))], "text": pa.array(["\n".join(f.values()) for f in files], pa.large_string())}
    data["files"] = [json.dumps([[name, len(text)] for name, text in f.items()]) for f in files]
    return Batch.of(pa.record_batch({**data, "encoding": [encoding] * len(files)}))


def judged(paper: dict[str, str] | str, encoding: str = "utf-8", **options: Any) -> tuple[str, list[str]]:
    """(text, the rules by which the paper is dropped)."""
    after, checks, _ = outcome(Clean(**options), batch_of(paper, encoding=encoding), None)
    return after.text[0].as_py(), [rule for rule, check in checks.items() if not check.passed[0]]


def cleaned(paper: dict[str, str] | str, **options: Any) -> str:
    text, dropped = judged(paper, **options)
    assert not dropped
    return text


def counted(paper: dict[str, str] | str, **options: Any) -> dict[str, int]:
    after, _, _ = outcome(Clean(**options), batch_of(paper), None)
    return json.loads(after["latex"][0].as_py())


def body(text: str, **options: Any) -> str:
    """What becomes of a text behind a heading."""
    out = cleaned(HEAD + text, **options)
    assert out.startswith(HEAD)
    return out.removeprefix(HEAD)


def original(text: str) -> str:
    return body(text, mode="redpajama")


# -- the golden pairs ---------------------------------------------------------------------------------------------------------------

A1 = (
    "\\documentclass{a}\n\\begin{document}\n\\begin{abstract}x\\end{abstract}\n"
    "\\section{Intro}\nHello % comment\nWorld\n\\bibliography{refs}\ntail"
)


@pytest.mark.parametrize("mode", ["paper", "redpajama"])
def test_a1_from_the_first_section_to_the_bibliography_without_comments(mode: str):
    assert cleaned(A1, mode=mode) == "\\section{Intro}\nHello\nWorld\n"


def test_a2_no_section():
    assert judged("words only", mode="redpajama") == ("", ["empty"])
    assert judged("words only") == ("", ["no_section"])


@pytest.mark.parametrize("heading", ["\\section*{A}", "\\section[short]{A}", "\\section{A\nB}", "\\part{A}", "\\subsubsection{A}"])
@pytest.mark.parametrize("mode", ["paper", "redpajama"])
def test_a3_headings(heading: str, mode: str):
    assert cleaned(f"before {heading}x", mode=mode) == f"{heading}x"


def test_a3_a_space_before_the_brace():
    assert judged("before \\section {A}x", mode="redpajama")[1] == ["empty"]
    assert cleaned("before \\section {A}x") == "\\section {A}x"  # it is one


@pytest.mark.parametrize("of", [body, original])
def test_a4_an_escaped_percent_sign(of: Any):
    assert of("50\\% of x % note") == "50\\% of x"


def test_a5_lines_of_comment():
    assert original("a\n% whole\nb\n  % indented\nfoo%\nc") == "a\nb\n \nfoo%\nc"
    assert body("a\n% whole\nb\n  % indented\nfoo%\nc") == "a\nb\nfooc"


@pytest.mark.parametrize("end", ["\\appendix", "\\begin{thebibliography}{9}", "\\begin{references}", "\\begin{REFERENCES}"])
@pytest.mark.parametrize("of", [body, original])
def test_a6_the_end(of: Any, end: str):
    assert of(f"text\n{end}\nmore\n\\section{{T}}tail") == "text\n"


def test_a6_ends_that_redpajama_does_not_know():
    for end in ("\\printbibliography", "\\begin{appendices}"):
        assert original(f"text\n{end} more") == f"text\n{end} more"
        assert body(f"text\n{end} more") == "text\n"


@pytest.mark.parametrize("mode", ["paper", "redpajama"])
def test_a7_newcommand(mode: str):
    front = "\\newcommand{\\ie}{i.e.}\n" + HEAD
    assert cleaned(front + "this \\ie that, \\ie.", mode=mode) == HEAD + "this i.e. that, i.e.."
    assert cleaned(front + "\\iex y", mode=mode) == HEAD + "\\iex y"
    assert cleaned(front + "at the end \\ie", mode=mode) == HEAD + ("at the end \\ie" if mode == "redpajama" else "at the end i.e.")


@pytest.mark.parametrize("definition", ["\\def\\R{\\mathbb{R}}", "\\def \\R {\\mathbb{R}}"])
@pytest.mark.parametrize("mode", ["paper", "redpajama"])
def test_a8_def(definition: str, mode: str):
    assert cleaned(f"{definition}\n{HEAD}$\\R$", mode=mode) == HEAD + "$\\mathbb{R}$"


@pytest.mark.parametrize(
    ("definition", "use", "expanded"),
    [
        ("\\newcommand{\\norm}[1]{|#1|}", "\\norm{x} y", "|x| y"),
        ("\\renewcommand{\\foo}{X}", "\\foo, y", "X, y"),
        ("\\newcommand\\foo{X}", "\\foo, y", "X, y"),
        ("\\newcommand{\\foo}{X} % c", "\\foo, y", "X, y"),
    ],
)
def test_a9_definitions_that_redpajama_does_not_know(definition: str, use: str, expanded: str):
    assert cleaned(f"{definition}\n{HEAD}{use}", mode="redpajama") == HEAD + use
    assert cleaned(f"{definition}\n{HEAD}{use}") == HEAD + expanded


def test_a10_one_pass_in_order_of_the_table():
    paper = "\\newcommand{\\a}{X}\n\\newcommand{\\b}{\\a Y}\n" + HEAD + "\\b z, \\a z"
    assert cleaned(paper, mode="redpajama") == HEAD + "\\a Y z, X z"
    assert cleaned(paper) == HEAD + "X Y z, X z"


def test_a11_a_value_that_is_not_ascii():
    paper = "\\newcommand{\\foo}{é}\n" + HEAD + "\\foo, y"
    assert judged(paper, mode="redpajama")[1] == ["macro_not_ascii"]
    assert cleaned(paper) == HEAD + "é, y"


def test_a12_files_are_joined():
    parts = {"a.tex": "\\section{A} a", "b.tex": "nothing", "c.tex": "\\section{B} b"}
    assert cleaned({k: parts[k] for k in ("a.tex", "c.tex")}, mode="redpajama") == "\\section{A} a\n\\section{B} b"
    assert cleaned(parts, mode="redpajama") == "\\section{A} a\n\n\\section{B} b"
    assert cleaned({k: parts[k] for k in ("a.tex", "c.tex")}) == "\\section{A} a\n\\section{B} b"


def test_a13_a_paragraph_is_a_heading_only_before_a_subparagraph():
    assert judged("pre\\paragraph{P}x", mode="redpajama")[1] == ["empty"]
    assert cleaned("pre\\paragraph{P}\\subparagraph{Q}x", mode="redpajama") == "\\paragraph{P}\\subparagraph{Q}x"
    assert judged("pre\\paragraph{P}\\subparagraph{Q}x")[1] == ["no_section"]


def test_a14_a_comment_behind_a_line_break_and_behind_an_escaped_percent_sign():
    assert original("row \\\\% c") == "row \\\\% c"
    assert original("5\\%% c") == "5\\"
    assert body("row \\\\% c") == "row \\\\"
    assert body("5\\%% c") == "5\\%"


# -- as RedPajama does, beyond the pairs --------------------------------------------------------------------------------------------


def test_redpajama_drops_a_paper_that_is_not_utf_8_and_we_do_not():
    assert judged(HEAD + "é", encoding="latin-1", mode="redpajama")[1] == ["not_utf8"]
    assert judged(HEAD + "é", encoding="latin-1") == (HEAD + "é", [])


def test_redpajama_of_two_definitions_on_a_line_takes_the_first_with_the_rest_as_its_value():
    paper = "\\newcommand{\\a}{X} \\newcommand{\\b}{Y}\n" + HEAD + "\\a. \\b."
    assert cleaned(paper, mode="redpajama") == HEAD + "X} \\newcommand{\\b}{Y. \\b."
    assert cleaned(paper) == HEAD + "X. Y."


def test_redpajama_a_comment_behind_a_definition_comes_in_with_its_value():
    """Seen in what the original has published: comments are long gone when values come in."""
    assert cleaned("\\def\\cX{{X}}  %{\\mathcal{X}}\n" + HEAD + "$\\cX$", mode="redpajama") == HEAD + "${X}}  %{\\mathcal{X}$"


def test_redpajama_of_a_direct_repetition_replaces_the_first_and_of_definitions_in_the_body_their_name():
    assert cleaned("\\def\\q{Q}\n" + HEAD + "\\q\\q\\q.", mode="redpajama") == HEAD + "Q\\qQ."
    assert original("\\def\\q{Q}\n\\q.") == "\\defQ{Q}\nQ."


def test_redpajama_the_later_file_wins():
    files = {"a.tex": "\\def\\q{A}\n", "b.tex": "\\def\\q{B}\n" + HEAD + "\\q."}
    assert cleaned(files, mode="redpajama") == "\n" + HEAD + "B."


def test_redpajama_percent_signs_of_addresses_comment_environments_and_false_branches():
    assert original("\\url{a%20b} c\nd") == "\\url{\nd"
    assert original("\\begin{comment}x\\end{comment}\\iffalse y\\fi") == "\\begin{comment}x\\end{comment}\\iffalse y\\fi"


# -- comments -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "\\verb|50%| and \\verb*+%+ x",
        "\\begin{verbatim}\n% kept\n\\end{verbatim}\nx",
        '\\begin{lstlisting}[language=C]\nprintf("%d");\n\n\n\nx\n\\end{lstlisting}\nx',
        "\\begin{minted}{c}\n%d\n\\end{minted}\nx",
        "\\lstinline{%d} \\lstinline[language=C]|%d| \\mintinline{c}{%d} x",
        "\\url{http://a.b/%7Ec} \\href{http://a.b/c%20d}{text} \\path{a%b} x",
        "\\\\\\% x",
    ],
)
def test_percent_signs_that_begin_no_comment(text: str):
    assert body(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one%\ntwo", "onetwo"),  # a word, as TeX joins it
        ("one. % note\ntwo", "one.\ntwo"),
        ("\\alpha%\nbeta", "\\alpha\nbeta"),  # not \alphabeta
        ("{one}%\n  two", "{one}\n  two"),
        ("a\n\n% c\n\nb", "a\n\nb"),
        ("a %", "a"),
        ("\\url{a%b} % c", "\\url{a%b}"),
        ("a\\begin{comment}\nx % \\end\n\\end{comment}b", "ab"),
        ("a\\iffalse x\\iftrue y\\fi z\\fi b", "a b"),
        ("a\\iffalse x $p \\iff q$\\else y\\fi b", "a y b"),
        ("a\\iftrue x\\else y\\fi b", "a x b"),
        ("a\\if0 x\\fi b", "a b"),
        ("% \\iffalse\na\n% \\fi", "a\n"),
        ("\\newif\\ifdraft\\drafttrue\\ifdraft A\\else B\\fi\\draftfalse\\ifdraft A\\else B\\fi", " A B"),
    ],
)
def test_what_tex_does_not_read(text: str, expected: str):
    assert body(text) == expected


def test_what_stands_behind_the_end_of_the_document_and_of_an_input_goes():
    files = {"m.tex": "\\documentclass{a}\\begin{document}\\section{S}\\input{i} c\\end{document} d", "i.tex": "a\\endinput b"}
    assert cleaned(files) == "\\section{S}a c"


# -- macros -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("definition", "use", "expected"),
    [
        ("\\newcommand*{\\f}[2]{<#2|#1>}", "\\f{a}{b}", "<b|a>"),
        ("\\newcommand{\\f}[2][d]{<#1|#2>}", "\\f{b} \\f[c]{b}", "<d|b> <c|b>"),
        ("\\newcommand{\\f}[1][d]{<#1>}", "\\f, \\f[[]]", "<d>, <[>]"),
        ("\\newcommand\\f[1]{<#1>}", "\\f ab \\f\\alpha b", "<a>b <\\alpha> b"),
        ("\\newcommand{\\f}\n  [1]\n  {<\n#1>}", "\\f {x}", "<\nx>"),
        ("\\providecommand{\\f}{A}\\providecommand{\\f}{B}", "\\f.", "A."),
        ("\\newcommand{\\f}{A}\\renewcommand{\\f}{B}", "\\f.", "B."),
        ("\\DeclareRobustCommand{\\f}{A}", "\\f.", "A."),
        ("\\DeclareMathOperator{\\tr}{tr}\\DeclareMathOperator*{\\am}{arg\\,min}", "$\\tr X, \\am_x$",
         "$\\operatorname{tr} X, \\operatorname*{arg\\,min}_x$"),
        ("\\def\\f#1#2{<#1,#2>}", "\\f{a}{b} \\f ab", "<a,b> <a,b>"),
        ("\\long\\def\\f#1{<#1>}", "\\f{a}", "<a>"),
        ("\\def\\f{A}\\let\\g\\f\\def\\f{B}", "\\f\\g.", "BA."),
        ("\\let\\eps=\\varepsilon", "$\\eps x$", "$\\varepsilon x$"),
        ("\\let\\tmp\\phi\\let\\phi\\varphi\\let\\varphi\\tmp", "$\\phi,\\varphi$", "$\\varphi,\\phi$"),
        ("\\newcommand{\\f}[1]{\\textbf{#1}}", "\\f{a \\f{b}}", "\\textbf{a \\textbf{b}}"),
        ("\\newcommand{\\f}[1]{<#1>}\\newcommand{\\g}{\\f}", "\\g{a}", "<a>"),  # its argument stands behind the macro that names it
        ("\\newcommand{\\f}[1]{\\it#1}", "\\f{a}", "\\it a"),  # not \ita
        ("\\newcommand{\\f}[1]{#1\\alpha}", "\\f{a}b", "a\\alpha b"),
        ("\\newcommand{\\ml}{ML\\xspace}", "\\ml is \\ml{}s", "ML is MLs"),
        ("\\newcommand{\\ml}{{ML\\xspace}}", "\\ml is", "{ML} is"),
        ("\\global\\long\\def\\f{A}", "\\f, \\long, \\global", "A, \\long, \\global"),
        ("\\def\\f{A}", "$\\f{}^2$", "$A{}^2$"),
        ("\\def\\f{A}", "\\fx \\\\f x \\f@ b", "\\fx \\\\f x A@ b"),
        ("\\def\\f{A}", "\\verb|\\f| \\begin{verbatim}\\f\\end{verbatim}\\f.", "\\verb|\\f| \\begin{verbatim}\\f\\end{verbatim}A."),
        ("\\def\\f{\\def\\g{B}}", "\\f\\g.", "B."),
        ("\\newcommand{\\sect}[1]{\\section{#1}}", "\\sect{T}", "\\section{T}"),
    ],
)  # fmt: skip
def test_macros_are_written_out_and_their_definitions_go(definition: str, use: str, expected: str):
    assert cleaned(f"{definition}\n{HEAD}{use}").removeprefix(HEAD) == expected
    if "\\section" not in definition:
        assert body(f"{definition}\n{use}").strip("\n") == expected.strip("\n")


@pytest.mark.parametrize(
    "text",
    [
        "\\def\\f#1.{<#1>} \\f a. b",  # delimiters
        "\\renewcommand{\\f}{\\f a} \\f b",  # itself
        "\\newenvironment{e}[1]{\\begin{quote}#1}{\\end{quote}} \\begin{e}{x}y\\end{e}",
        "\\NewDocumentCommand{\\f}{m}{<#1>} \\f{a}",
        "\\newcommand{\\f}{open \\f b",  # no end
        "\\unknown{a} \\let\\ifdraft\\iffalse",
    ],
)
def test_definitions_that_are_left_as_they_stand(text: str):
    assert body(text) == text


def test_a_use_without_its_arguments_is_left():
    assert body("\\newcommand{\\f}[2]{<#1#2>}\\f{a}\n\nb") == "\\f{a}\n\nb"
    assert counted(HEAD + "\\newcommand{\\f}[2]{<#1#2>}\\f{a}\n\nb")["without_arguments"] == 1


def test_macros_deeper_than_the_limit_are_left_and_counted():
    chain = "".join(f"\\def\\{chr(97 + n)}x{{\\{chr(98 + n)}x}}" for n in range(12)) + "\\def\\mx{end}"
    assert body(f"{chain}\\ax.", max_depth=13) == "end."
    assert body(f"{chain}\\ax.") == "\\kx."
    assert counted(f"{HEAD}{chain}\\ax.")["too_deep"] == 1


# -- projects -----------------------------------------------------------------------------------------------------------------------

MAIN = "\\documentclass{article}\n\\input{defs}\n\\begin{document}\n\\include{sec/one}\n\\subfile{sec/two.tex}\n\\end{document}"
PROJECT = {
    "old.tex": "\\section{Old}",
    "main.tex": MAIN,
    "defs.tex": "\\def\\name{NAME}",
    "sec/one.tex": "\\section{One} \\name\n% \\input{old}",
    "sec/two.tex": "\\documentclass[../main]{subfiles}\\begin{document}\\section{Two}\\input three \\input{none}.\\end{document}x",
    "sec/three.tex": "three",
}


def test_the_main_file_with_its_inputs_and_no_other():
    assert cleaned(PROJECT) == "\\section{One} NAME\n\\section{Two}three .\n"
    done = counted(PROJECT)
    assert (done["inputs"], done["missing_inputs"], done["unused_files"]) == (4, 1, 1)


def test_import_names_a_folder_and_a_file():
    files = {"m.tex": "\\documentclass{a}\\section{M}\\import{sec/}{one}\\subimport*{x}", "sec/one.tex": "one", "one.tex": "other"}
    assert cleaned(files) == "\\section{M}one\\subimport*{x}"


def test_the_order_of_files_changes_nothing_where_there_is_one_main_file():
    assert cleaned(dict(reversed(PROJECT.items()))) == cleaned(PROJECT)


def test_the_class_may_stand_in_an_input():
    files = {"pre.tex": "\\documentclass{a}", "m.tex": "\\input{pre}\\begin{document}\\section{S}x\\end{document}", "z.tex": HEAD}
    assert cleaned(files) == "\\section{S}x"


def test_of_several_main_files_no_slides_and_the_nearest_to_the_root():
    paper, slides = "\\documentclass{article}\\section{P}", "\\documentclass{beamer}\\section{B}" + "x" * 99
    assert cleaned({"a.tex": slides, "sub/b.tex": paper}) == "\\section{P}"
    assert cleaned({"sub/b.tex": paper + "longer", "c.tex": paper}) == "\\section{P}"
    letter = "\\documentclass{article} without headings"
    assert cleaned({"a.tex": letter, "sub/b.tex": paper}) == "\\section{P}"


def test_circles_are_cut_and_counted():
    files = {"a.tex": "\\documentclass{x}\\section{A}\\input{b}", "b.tex": "b\\input{a}\\input{b}"}
    assert cleaned(files) == "\\section{A}b"
    assert counted(files)["input_cycles"] == 2


def test_a_list_of_files_that_does_not_fit_the_text_is_not_believed():
    assert latex.apart("ab\ncd", '[["x", 2], ["x", 2]]') == {"x": "ab", "x+1": "cd"}
    for listed in (None, "", "[]", "{}", "nonsense", '[["x", 9]]', '[["x", 7], ["y", -3]]', "[1, 2]", '[["x", null]]'):
        assert latex.apart("ab\ncd", listed) == {"": "ab\ncd"}


# -- options ------------------------------------------------------------------------------------------------------------------------


def test_the_appendix_can_stay_and_the_bibliography_then_goes_alone():
    text = "a\n\\begin{thebibliography}{9}\\bibitem{x}\\end{thebibliography}\n\\appendix\nb\n\\bibliography{r}\nc"
    assert body(text, appendix="keep") == "a\n\\appendix\nb\nc"
    assert body(text) == "a\n"


@pytest.mark.parametrize("title", ["References", "REFERENCES:", "Bibliography", "Appendix", "Appendix A: Proofs", "Appendices"])
def test_closing_headings_end_the_text_as_their_commands_do(title: str):
    assert body(f"a\n\\section*{{{title}}}\nb") == "a\n"
    assert body("a\n\\section{Appendixes of cats}\nb").endswith("b")


@pytest.mark.parametrize("title", ["Literature", "literature cited", "Literature."])
def test_a_section_of_literature_ends_the_text_if_it_is_the_last(title: str):
    assert body(f"a\n\\section{{{title}}}\nb\\subsection{{c}}") == "a\n"
    review = f"a\n\\section{{{title}}}\nb\n\\section{{Methods}}\nc"
    assert body(review) == review
    assert counted(f"{HEAD}a\\section{{{title}}}")["ended_by_heading"] == 1
    assert "ended_by_heading" not in counted(HEAD + review)
    files = {"m.tex": "\\documentclass{a}\\input{i}\n\\section{Methods}c", "i.tex": HEAD + f"\\section{{{title}}}b"}
    assert cleaned(files).endswith("Methods}c")


@pytest.mark.parametrize("layout", ["\\fontsize{9}{11} \\selectfont", "\\fontsize{9pt}{11pt}\\selectfont\n\\small {"])
def test_layout_before_a_bibliography_goes(layout: str):
    assert body(f"a\n{layout}\n\\bibliography{{r}}") == "a\n"


def test_a_letter_without_headings_can_be_kept():
    letter = "\\documentclass{a}\\begin{document}Words.\n\\begin{thebibliography}{9}x\\end{thebibliography}\\end{document}"
    assert judged(letter)[1] == ["no_section"]
    assert cleaned(letter, without_section="keep") == "Words.\n"


def test_title_and_abstract_can_be_kept():
    front = "\\def\\x{X}\\title[t]{On \\x{}s}\\begin{document}\\begin{abstract}\nWe \\x.\n\\end{abstract}"
    assert cleaned(front + HEAD + "a", front="keep") == "On Xs\n\nWe X.\n\n" + HEAD + "a"
    assert cleaned(front + HEAD + "a") == HEAD + "a"


def test_a_paper_may_be_too_long():
    assert judged(HEAD + "a", max_chars=13) == (HEAD + "a", [])
    assert judged(HEAD + "ab", max_chars=13)[1] == ["too_long"]


def test_limits_are_not_negative():
    with pytest.raises(RecipeError, match="max_depth"):
        Clean(max_depth=-1)


# -- hostile papers -----------------------------------------------------------------------------------------------------------------

N = 200_000  # characters of each, about
DOUBLING = "".join(f"\\def\\{chr(97 + n)}{{\\{chr(98 + n)} \\{chr(98 + n)} }}\n" for n in range(25)) + "\\def\\z{boom}\n"
TENFOLD = "".join("\\def\\" + chr(97 + n) + "{" + f"\\{chr(98 + n)} " * 30 + "}\n" for n in range(9)) + "\\def\\j{}\n"
BOMBS: dict[str, dict[str, str] | str] = {
    "doubling": DOUBLING + HEAD + "\\a ",
    "nothing": TENFOLD + HEAD + "\\a ",
    "wide": f"\\def\\a{{{'x' * 19_000}}}\n" + HEAD + "\\a " * 20_000,
    "arguments": "\\newcommand{\\a}[1]{" + "#1" * 9000 + "}\n" + HEAD + f"\\a{{{'y' * 9000}}}" * 10,
    "inputs": {"m.tex": "\\documentclass{a}\\section{M}" + "\\input{b}" * 9000, "b.tex": "\\input{c}" * 9000, "c.tex": "x" * 99},
    "pairs": {f"f{n}.tex": f"\\section{{x}}\\input{{f{n + 1}}}\\input{{f{n + 1}}}" for n in range(60)},
}
SLOW = {
    "open braces": "\\newcommand{\\a}[1]{#1}\n" + HEAD + "\\a{" * (N // 3),
    "open definitions": HEAD + "\\def\\a{" * (N // 7),
    "open brackets": "\\newcommand{\\a}[1][]{#1}\n" + HEAD + "\\a[" * (N // 3),
    "open verbatim": HEAD + "\\begin{verbatim}" * (N // 16),
    "open comments": HEAD + "\\begin{comment}" * (N // 15),
    "open branches": HEAD + "\\iffalse " * (N // 9),
    "branches with another": HEAD + "\\iffalse\\else " * (N // 14) + "\\fi " * (N // 14),
    "definitions on one line": HEAD + "\\def\\a{}" * (N // 8),
    "comments": HEAD + "  %\n" * (N // 4),
    "percent signs": HEAD + "%" * N,
    "backslashes": HEAD + "\\" * N,
    "blank lines": HEAD + " \n" * (N // 2),
    "spaces": HEAD + " " * N + "x",
    "bibliographies": HEAD + "\\bibliography{" * (N // 14),
    "short titles": "\\section[" * (N // 9),
    "paragraphs": "\\paragraph[" * (N // 11) + "}\\subparagraph{}" + "]{}",
    "classes": {"a.tex": "\\documentclass[" * (N // 15) + HEAD, "b.tex": ""},
    "inline code": HEAD + "\\mintinline[" * (N // 24) + "\\lstinline[" * (N // 24) + "\\verb" * (N // 5),
    "documents": {"a.tex": "\\documentclass{a}\\input{b}\\input{b}" + HEAD, "b.tex": "\\begin{document}" * (N // 16)},
    "titles": "\\title[" * (N // 7) + "\\begin{abstract}" * 5000 + HEAD,
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_dropped_by_growth_and_leave_nothing(name: str):
    assert judged(BOMBS[name]) == ("", ["growth"])


@pytest.mark.timeout(20)
def test_bombs_of_redpajama_are_dropped_by_growth():
    doubling = "".join(f"\\def\\{chr(97 + n)}{{\\{chr(98 + n)}. \\{chr(98 + n)}. }}\n" for n in range(25)) + HEAD + "\\a. "
    assert judged(doubling, mode="redpajama") == ("", ["growth"])
    assert judged(BOMBS["wide"], mode="redpajama") == ("", ["growth"])


@pytest.mark.timeout(20)
@pytest.mark.parametrize("mode", ["paper", "redpajama"])
@pytest.mark.parametrize("name", SLOW)
def test_hostile_papers_take_time_in_proportion_to_their_length(name: str, mode: str):
    """The time limit is the test: what grows with the square of these would take minutes."""
    judged(SLOW[name], mode=mode, front="keep")


PIECES = ["\\", "\\a", "\\b", "\\c", "\\ab", "\\ba", "\\a1", "1", "a", "b", " ", "{", "}", "é", "\n"]
VALUE = st.lists(st.sampled_from([piece for piece in PIECES if piece not in "é\n"]), max_size=4).map("".join)


@given(st.dictionaries(st.sampled_from(["\\a", "\\b", "\\c", "\\ab", "\\ba"]), VALUE), st.lists(st.sampled_from(PIECES), max_size=30))
@example({"\\a": "b", "\\ab": "c"}, ["\\a", "\\a", " ", "\\", "\\a", " ", "\\ab", " "])
@settings(max_examples=500, deadline=None)
def test_uses_of_redpajama_are_those_of_one_substitution_after_another(table: dict[str, str], pieces: list[str]):
    """Which passes over all text for each macro; here only those that have uses are looked for."""
    text = HEAD + "".join(pieces) + "}"
    expected = text
    for name, value in table.items():
        expected = re.sub(re.escape(name) + "([^A-Za-z0-9])", lambda found, value=value: value + found[1], expected)
    definitions = "".join(f"\\newcommand{{{name}}}{{{value}}}\n" for name, value in table.items())
    assert latex_redpajama.clean([definitions + text], 1 << 20) == expected


@pytest.mark.timeout(20)
@pytest.mark.parametrize("before", ["", "a", "\\q"])
def test_macros_times_text_of_redpajama_is_bounded(before: str):
    names = [named(n) for n in range(15_000)]
    text = HEAD + "".join(f"\\newcommand{{\\{name}}}{{x}}\n" for name in names) + "".join(f"{before}\\{name} " for name in names)
    assert judged(text + "z" * 400_000, mode="redpajama") == ("", ["growth"])


M = 1_000_000  # characters: what each of these takes in proportion is less than a second


def named(n: int) -> str:
    return "".join(chr(97 + n // 26**k % 26) for k in range(4))


HUGE: dict[str, dict[str, str] | str] = {
    "layout at the end": HEAD + "x\n" + "\\small " * (2 * M // 7),
    "definitions": HEAD + "".join(f"\\def\\{named(n)}{{}}\n" for n in range(M // 11)),
    "spaces in def": "\\def\\x" + " " * M + "y" + HEAD,
    "spaces in let": "\\let\\x" + " " * M + "y" + HEAD,
    "spaces in newcommand": "\\newcommand{\\x}" + " " * M + "y" + HEAD,
    "spaces behind a class": {"a.tex": "\\documentclass" + " " * M + "x" + HEAD, "b.tex": ""},
    "spaces in a class": {"a.tex": "\\documentclass{" + " " * M + "x" + HEAD, "b.tex": ""},
    "a long name": "\\def\\" + "a" * M + "!" + HEAD,
    "a long path": {"a/" * 2000 + "m.tex": "\\documentclass{a}" + HEAD + "\\input a\n" * (M // 9), "b.tex": ""},
    "main files": {f"{n}.tex": "\\input{x}" for n in range(20_000)}
    | {"x.tex": "".join(f"\\input{{l{n}}}" for n in range(20_000))}
    | {f"l{n}.tex": "" for n in range(20_000)},
    "code and documents": {"a.tex": "\\verb|x|" * 30_000, "b.tex": "\\begin{document}" * (M // 20)},
}
UNSEEN = {  # what no macro writes counts, too
    "nested uses without arguments": "\\newcommand{\\m}[2]{}" + HEAD + ("\\m{" * 5000 + "}" * 5000 + "\n\n") * 50,
    "defaults without arguments": "\\newcommand{\\m}[2][]{}" + HEAD + ("\\m[{" * 4000 + "}]" * 4000 + "\n\n") * 50,
    "defaults without bodies": HEAD + ("\\newcommand\\a[1][{" * 1000 + "}]" * 1000 + "\n\n") * 50,
    "empty arguments": "\\newcommand{\\a}[1]{" + "#1" * 9900 + "}" + HEAD + "\\a{}" * (M // 4),
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", HUGE)
def test_a_million_characters_of_anything_are_soon_done(name: str):
    """The time limit is the test, as above."""
    judged(HUGE[name], front="keep")


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", UNSEEN)
def test_what_is_looked_through_in_vain_counts_as_growth(name: str):
    assert judged(UNSEEN[name]) == ("", ["growth"])


def test_files_of_one_name_are_told_apart_in_time():
    assert len(latex.apart("x\n" * 49_999 + "x", json.dumps([["a", 1]] * 50_000))) == 50_000


def test_the_inputs_that_are_looked_at_for_the_main_file_are_bounded(monkeypatch: pytest.MonkeyPatch):
    files = {f"{n}.tex": f"{HEAD}\\input{{x}}" for n in range(9)} | {"x.tex": "\\documentclass{a}"}
    assert len(Project(files).roots()) == 1
    monkeypatch.setattr(latex_project, "LOOKED", 3)
    assert Project(files).roots() == ["0.tex"]  # the first three are looked through, and are alike


def test_an_input_of_nothing_is_no_file():
    assert counted(HEAD + "a\\input{}b")["missing_inputs"] == 1


WORDS = [
    "\\", "{", "}", "[", "]", "%", "#", "#1", "#2", "\n", "\n\n", " ", "a", "\\a", "\\b", "\\c", "x", "é", "\r\n", "*", "=", "|", "@", "0",
    "\\def", "\\newcommand", "\\renewcommand", "\\let", "\\section", "\\section{S}", "\\input", "\\input{a}", "\\input{b.tex}", "\\verb|",
    "\\begin{verbatim}", "\\end{verbatim}", "\\begin{document}", "\\end{document}", "\\iffalse", "\\iftrue", "\\else", "\\fi", "\\newif",
    "\\appendix", "\\bibliography{r}", "\\begin{thebibliography}", "\\url{", "\\documentclass{a}", "\\endinput", "\\DeclareMathOperator",
    "\\begin{comment}", "\\end{comment}", "\\xspace", "\\title{", "\\if", "\\paragraph{p}", "\\subparagraph{q}",
]  # fmt: skip
LATEX = st.lists(st.sampled_from(WORDS), max_size=40).map("".join)


@given(st.dictionaries(st.sampled_from(["a.tex", "b.tex", "c/d.tex"]), LATEX, min_size=1), st.sampled_from(["keep", "drop"]))
@example({"a.tex": "\\def\\a{\\b\\a}\\def\\b{\\a\\b}\\section{S}\\a"}, "drop")
@settings(max_examples=400, deadline=None)
def test_anything_is_cleaned_and_bounded(files: dict[str, str], keep: str):
    size = sum(map(len, files.values()))
    for mode in ("paper", "redpajama"):
        text, _ = judged(files, mode=mode, without_section=keep, front=keep, max_growth=2.0, min_growth=300)
        assert len(text) <= 2 * (size + max(2 * size, 300)) + 100


@given(LATEX)
@settings(max_examples=300, deadline=None)
def test_comments_are_gone_after_one_time(text: str):
    """Nothing is taken for a comment that was none before."""
    once = uncomment(text)
    assert len(once) <= len(text)
    if "\\" not in text:
        assert "%" not in once
        assert uncomment(once) == once


PLAIN = st.lists(st.sampled_from([w for w in WORDS if not re.search(r"def|let|command|Operator|newif", w) and w != "\\"]), max_size=30)


@given(PLAIN.map("".join).filter(lambda text: "\\%" not in text))
@settings(max_examples=300, deadline=None)
def test_a_text_that_defines_nothing_is_clean_after_one_time(text: str):
    once, dropped = judged(HEAD + text)
    if not dropped:
        assert judged(once) == (once, [])


@pytest.mark.parametrize(("level", "ends"), [("section", True), ("section*", True), ("subsection", False), ("subsubsection*", False)])
def test_a_section_of_references_ends_the_paper_and_one_within_a_section_does_not(level: str, ends: bool) -> None:
    text = f"\\section{{A}}\nOne.\n\\{level}{{References}}\nTwo.\n\\section{{B}}\nThree.\n"
    found = cleaned(text)
    assert ("Three." in found) is not ends
