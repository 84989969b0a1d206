"""read.stackexchange against ElementTree, on dumps cut anywhere, of other schema versions, in archives, and on what is none."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curate.errors import RecipeError
from curate.stage import Bad, Skip
from stages.read import stackexchange
from stages.read.stackexchange import Posts, site_of

WHOLE = 1 << 60
HEAD, TAIL = '\ufeff<?xml version="1.0" encoding="utf-8"?>\n<posts>\n', "</posts>"
QUESTION = (
    '  <row Id="1" PostTypeId="1" AcceptedAnswerId="2" CreationDate="2014-01-21T20:26:05.383" Score="13" Body="&lt;p&gt;b&lt;/p&gt;&#xA;" '
)
QUESTION += 'Title="T" Tags="&lt;hops&gt;&lt;c#&gt;" AnswerCount="1" />\n'
ANSWER = '  <row Id="2" PostTypeId="2" ParentId="1" CreationDate="2014-01-22T00:00:00.000" Score="-1" Body="a" />\n'


def write(folder: Path, rows: str | bytes, name: str = "Posts.xml") -> Path:
    path = folder / "beer.stackexchange.com" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(rows if isinstance(rows, bytes) else (HEAD + rows + TAIL).encode())
    return path


def read(paths: Any, target: int = WHOLE, **options: Any) -> tuple[list[dict[str, Any]], list[Bad], Counter[str]]:
    source = Posts((str(paths),), **options)
    rows: list[dict[str, Any]] = []
    bad: list[Bad] = []
    skipped: Counter[str] = Counter()
    for shard in source.shards(target):
        for item in source.read(shard):
            if isinstance(item, Bad):
                bad.append(item)
            elif isinstance(item, Skip):
                skipped[item.reason] += item.count
            else:
                assert item.schema.names == ["id", "text", *source.adds]
                item.validate(full=True)
                rows += item.to_pylist()
    return rows, bad, skipped


def of(folder: Path, rows: str | bytes, target: int = WHOLE, **options: Any) -> tuple[list[dict[str, Any]], list[Bad], Counter[str]]:
    return read(write(folder, rows), target, **options)


def reason(folder: Path, row: str, **options: Any) -> str:
    """Of a row between two good ones, which must stay."""
    rows, bad, _ = of(folder, QUESTION + row + ANSWER, **options)
    assert [r["post"] for r in rows] == [1, 2]
    assert len(bad) == 1
    assert not bad[0].whole_file
    assert bad[0].place == f"Posts.xml:{len((HEAD + QUESTION).encode()) + row.index('<')}"
    return bad[0].reason


def test_posts_have_their_columns(tmp_path):
    (question, answer), bad, _ = of(tmp_path, QUESTION + ANSWER)
    assert not bad
    begins = len(HEAD.encode())
    same = {"site": "beer.stackexchange.com"}
    assert question == same | {
        "id": f"Posts.xml:{begins + 2}",
        "text": "<p>b</p>\n",
        "kind": "question",
        "post": 1,
        "parent": None,
        "title": "T",
        "tags": "hops c#",
        "score": 13,
        "accepted": 2,
        "url": "https://beer.stackexchange.com/questions/1",
        "date": "2014-01-21T20:26:05.383",
    }
    assert answer == same | {
        "id": f"Posts.xml:{begins + len(QUESTION) + 2}",
        "text": "a",
        "kind": "answer",
        "post": 2,
        "parent": 1,
        "title": None,
        "tags": None,
        "score": -1,
        "accepted": None,
        "url": "https://beer.stackexchange.com/a/2",
        "date": "2014-01-22T00:00:00.000",
    }


@pytest.mark.parametrize(
    ("path", "site"),
    [
        ("/d/beer.stackexchange.com/Posts.xml", "beer.stackexchange.com"),
        ("/d/beer.stackexchange.com.7z", "beer.stackexchange.com"),
        ("s3://b/stackoverflow.com-Posts.7z", "stackoverflow.com"),
        ("/d/mathoverflow.net.xml", "mathoverflow.net"),
    ],
)
def test_a_site_is_named_by_its_folder_or_archive(path, site):
    assert site_of(path) == site


def test_a_site_may_be_given(tmp_path):
    assert of(tmp_path, ANSWER, site="x.example")[0][0]["url"] == "https://x.example/a/2"


# -- against ElementTree


xml_values = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), max_size=12
) | st.sampled_from(["<b>", "&", '"', "'", "a\nb", "a\tb", "&amp;", "\r\n"])


def escaped(value: str, hexadecimal: bool, quote: str) -> str:
    named = {"<": "&lt;", "&": "&amp;", quote: "&quot;" if quote == '"' else "&apos;"}
    return "".join(named.get(c) or (f"&#x{ord(c):X};" if hexadecimal else f"&#{ord(c)};") if c in named or c < " " else c for c in value)


@st.composite
def written_rows(draw: st.DrawFn) -> str:
    out = []
    for number in range(draw(st.integers(0, 8))):
        row = {"Id": str(number + 1), "PostTypeId": draw(st.sampled_from("1212345")), "Body": draw(xml_values), "Title": draw(xml_values)}
        row |= {"ParentId": str(draw(st.integers(0, 9))), "Score": str(draw(st.integers(-9, 9))), "Unknown": draw(xml_values)}
        quote = draw(st.sampled_from("\"'"))
        names = draw(st.permutations(sorted(row)))
        space = draw(st.sampled_from([" ", "\n", "  \t"]))
        inside = space.join(f"{name}={quote}{escaped(row[name], draw(st.booleans()), quote)}{quote}" for name in names)
        out.append(f"  <row{space}{inside}{draw(st.sampled_from(['/>', ' />', '></row>']))}\n")
        out.append(
            draw(st.sampled_from(["", "", f"<!-- {QUESTION}<! - -->", f"<?pi {ANSWER}?>", f"<!-- <![CDATA[ -->{QUESTION}<!-- ]]> -->"]))
        )
    return "".join(out)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=written_rows(), target=st.sampled_from([WHOLE, 1, 7, 100]), block=st.sampled_from([16, 100, 4 << 20]))
def test_rows_are_as_elementtree_reads_them_however_the_file_is_cut(tmp_path, monkeypatch, rows, target, block):
    monkeypatch.setattr(stackexchange, "BLOCK", block)
    found, bad, skipped = of(tmp_path, rows, target)
    wanted = [dict(row.attrib) for row in ElementTree.fromstring((HEAD + rows + TAIL).removeprefix("\ufeff").encode())]
    posts = [w for w in wanted if w["PostTypeId"] == "2" or (w["PostTypeId"] == "1" and (w["Title"] + w["Body"]).strip())]
    assert not bad
    assert skipped.total() == len(wanted) - len(posts)
    assert [(f["post"], f["text"], f["score"]) for f in found] == [(int(w["Id"]), w["Body"], int(w.get("Score", 0))) for w in posts]
    assert [f["title"] for f in found] == [w["Title"] if w["PostTypeId"] == "1" else None for w in posts]
    assert [f["parent"] for f in found] == [int(w["ParentId"]) if w["PostTypeId"] == "2" else None for w in posts]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=80), st.integers(0, 600), st.integers(0, 20))
def test_damage_never_raises_and_rows_before_it_stay(tmp_path, junk, at, gone):
    good = (HEAD + (QUESTION + ANSWER) * 2 + TAIL).encode()
    found, _, _ = of(tmp_path, good[:at] + junk + good[at + gone :], 200)
    intact = [row for row in read(write(tmp_path, good))[0] if int(row["id"].rpartition(":")[2]) + len(QUESTION) <= at]
    assert [row["text"] for row in found][: len(intact)] == [row["text"] for row in intact]


# -- other schema versions, and what is none


def test_types_other_than_questions_and_answers_are_counted(tmp_path):
    others = "".join(f'<row Id="{n}" PostTypeId="{n}" Body="b" />\n' for n in (4, 5, 5, 7, 99))
    rows, bad, skipped = of(tmp_path, QUESTION + others + ANSWER)
    assert (len(rows), bad) == (2, [])
    assert skipped == {"tag_wiki_excerpt": 1, "tag_wiki": 2, "wiki_placeholder": 1, "other_type": 1}


def test_without_types_parents_and_titles_tell(tmp_path):
    rows, bad, skipped = of(
        tmp_path, (QUESTION + ANSWER).replace('PostTypeId="1"', "").replace('PostTypeId="2"', "") + '<row Id="3" Body="w" />'
    )
    assert not bad
    assert [row["kind"] for row in rows] == ["question", "answer"]
    assert skipped == {"other_type": 1}


@pytest.mark.parametrize("tags", ["&lt;hops&gt;&lt;c#&gt;", "|hops|c#|", "hops c#"])
def test_tags_of_all_times_are_alike(tmp_path, tags):
    assert of(tmp_path, QUESTION.replace("&lt;hops&gt;&lt;c#&gt;", tags))[0][0]["tags"] == "hops c#"


def test_what_may_be_missing_is_null(tmp_path):
    ((row,), bad, _) = of(tmp_path, '<row Id="1" PostTypeId="1" Body="" Title="T" />')
    assert not bad
    assert [row[name] for name in ("score", "tags", "accepted", "date")] == [None] * 4
    assert row["text"] == ""


@pytest.mark.parametrize(
    ("row", "wanted"),
    [
        ('<row PostTypeId="1" Title="T" Body="b" />', "a post without Id"),
        ('<row Id="x" PostTypeId="1" Title="T" Body="b" />', "a post without Id"),
        ('<row Id="0" PostTypeId="1" Title="T" Body="b" />', "Id is no positive number"),
        ('<row Id="-5" PostTypeId="1" Title="T" Body="b" />', "Id is no positive number"),
        ('<row Id="3" PostTypeId="1" Title="T" />', "a post without Body"),
        ('<row Id="3" PostTypeId="1" Body="b" />', "a question without Title"),
        ('<row Id="3" PostTypeId="2" Body="b" />', "an answer without ParentId"),
        ('<row Id="3" PostTypeId="one" Title="T" Body="b" />', "PostTypeId is no number"),
        ('<row Id="3" PostTypeId="1" Title="T" Body="b" Score="high" />', "Score is no number"),
        ('<row Id="3" PostTypeId="1" Title="T" Body="&nbsp;" />', "a character that XML does not allow, or a reference"),
        ('<row Id="3" PostTypeId="1" Title="T" Body="&lol9;" />', "a character that XML does not allow, or a reference"),
        ('<row Id="3" PostTypeId="1" Title="T" Body="&#xD800;" />', "a character that XML does not allow, or a reference"),
        ('<row Id="3" PostTypeId="1" Title="T" Body="&#99999999999;" />', "a character that XML does not allow, or a reference"),
        ('<row Id="3" PostTypeId="1" Title="T" Body="a & b" />', "a character that XML does not allow, or a reference"),
        ('<row Id="3" PostTypeId="1" Title="T" Body="&#1;" />', "a character that XML does not allow"),
        ('<row Id="3" PostTypeId="1" Title="T" Body="&#xFFFE;" />', "a character that XML does not allow"),
        ('<row Id="3" PostTypeId="1" Title="T" Body="a\0b" />', "a character that XML does not allow"),
        ('<row Id="3" PostTypeId="1" Title="T\uffff" Body="b" />', "a character that XML does not allow"),
        ('<row Id="3" PostTypeId="1" Title="T" Body="a < b" />', "not well-formed"),
        ('<row Id="3" Id="4" PostTypeId="1" Title="T" Body="b" />', "not well-formed"),
        ('<row Id="3" PostTypeId="1" Title="T Body="b" />', "not well-formed"),
        ('<row Id=3 PostTypeId="1" Title="T" Body="b" />', "not well-formed"),
        ('<row Id="3" PostTypeId="1" Title="T" Body="b\n', "not well-formed"),
    ],
)
def test_a_bad_row_costs_itself(tmp_path, row, wanted):
    assert reason(tmp_path, row).startswith(wanted)


def test_a_row_that_is_not_utf8_costs_itself(tmp_path):
    latin = (HEAD + QUESTION + ANSWER.replace('Body="a"', 'Body="é"') + ANSWER + TAIL).encode().replace(b"\xc3\xa9", b"\xe9")
    rows, bad, _ = of(tmp_path, latin)
    assert ([row["text"] for row in rows], [b.reason for b in bad]) == (["<p>b</p>\n", "a"], ["invalid UTF-8"])


@pytest.mark.parametrize("block", [1000, 4 << 20])
def test_a_long_row_is_passed_over_without_being_held(tmp_path, monkeypatch, block):
    monkeypatch.setattr(stackexchange, "BLOCK", block)
    long = f'<row Id="3" PostTypeId="2" ParentId="1" Body="{"x" * 50_000}" />\n'
    assert reason(tmp_path, long, max_row_bytes=5000) == "a row of more than 5,000 bytes"


@pytest.mark.parametrize("cut", [1, 60, 200, 500])
def test_a_cut_dump_is_told(tmp_path, cut):
    whole = (HEAD + (QUESTION + ANSWER) * 2 + TAIL).encode()
    for target in (WHOLE, 150):
        rows, bad, _ = of(tmp_path, whole[:-cut], target)
        assert len(bad) == 1
        assert "cut off" in bad[0].reason or "breaks off" in bad[0].reason
        assert len(rows) == whole[:-cut].count(b"/>")


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (b"", "an empty file"),
        ((HEAD + QUESTION + TAIL).encode("utf-16"), "UTF-16, where UTF-8 is expected"),
        ((HEAD[1:].replace("utf-8", "windows-1251") + QUESTION + TAIL).encode(), "in windows-1251, where UTF-8 is expected"),
        ((HEAD + QUESTION + TAIL).replace("posts>", "comments>").encode(), "no Posts.xml: there is no <posts> at its beginning"),
        (b"\x00\x01" * 5000, "no Posts.xml: there is no <posts> at its beginning"),
    ],
)
def test_what_is_no_dump_costs_the_file_once(tmp_path, data, wanted):
    for target in (WHOLE, 100):
        rows, bad, _ = of(tmp_path, data, target)
        assert (rows, [b.reason for b in bad], [b.whole_file for b in bad]) == ([], [wanted], [True])


def test_entities_of_a_document_type_are_never_expanded(tmp_path):
    bomb = '<!DOCTYPE posts [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;"><!ENTITY c SYSTEM "file:///etc/passwd">]>\n'
    data = HEAD.replace("<posts>", bomb + "<posts>") + ANSWER.replace('"a"', '"&b;"') + ANSWER.replace('"a"', '"&c;"') + ANSWER + TAIL
    rows, bad, _ = of(tmp_path, data.encode())
    assert ([row["text"] for row in rows], len(bad)) == (["a"], 2)


@pytest.mark.parametrize("target", [WHOLE, 40])
@pytest.mark.parametrize("block", [16, 4 << 20])
@pytest.mark.parametrize("around", ["<!-- - -> {} -->", "<![CDATA[ ]] > {}]]>", "<?php {} ?>"])
def test_rows_in_comments_and_the_like_are_none(tmp_path, monkeypatch, around, block, target):
    monkeypatch.setattr(stackexchange, "BLOCK", block)
    rows, bad, _ = of(tmp_path, around.format(QUESTION * 3) + ANSWER + around.format(QUESTION), target)
    assert ([row["post"] for row in rows], bad) == ([2], [])


@pytest.mark.parametrize("target", [WHOLE, 40])
def test_rows_in_entities_are_none(tmp_path, target):
    kind = f"""<!DOCTYPE posts [<!-- don't ]> --><!ENTITY a "{QUESTION.replace('"', "'")}]>"><?pi ' ?>]>\n"""
    rows, bad, _ = of(tmp_path, HEAD.replace("<posts>", kind + "<posts>").encode() + (ANSWER + TAIL).encode(), target)
    assert ([row["post"] for row in rows], bad) == ([2], [])


def test_a_comment_without_an_end_costs_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(stackexchange, "LONGEST", 1000)
    for target in (WHOLE, 500):
        rows, bad, _ = of(tmp_path, QUESTION + "<!-- " + ANSWER * 20, target)
        assert len(rows) == 21
        assert [b.reason for b in bad] == ["a comment, CDATA section, instruction or document type without an end within 1,000 bytes"]


@pytest.mark.parametrize("junk", ["<!--", "<![CDATA[", "<?", "<!DOCTYPE", "<!DOCTYPE '", "<row ", "<"])
def test_hostile_junk_takes_no_time(tmp_path, junk):
    of(tmp_path, junk)
    began = time.process_time()
    rows, _, _ = of(tmp_path, QUESTION + junk * (2_000_000 // len(junk)))
    assert time.process_time() - began < 3
    assert len(rows) == 1


def test_a_question_of_nothing_is_none(tmp_path):
    rows, bad, skipped = of(tmp_path, '<row Id="1" PostTypeId="1" Title="" Body="&#xA;" />' + ANSWER)
    assert ([row["post"] for row in rows], bad, skipped) == ([2], [], {"empty": 1})


def test_options_that_cannot_be_are_the_recipes_mistake(tmp_path):
    with pytest.raises(RecipeError, match="max_row_bytes is 0"):
        Posts((str(write(tmp_path, ANSWER)),), max_row_bytes=0).shards(WHOLE)


# -- archives


def archive(folder: Path, name: str, members: dict[str, str]) -> Path:
    py7zr = pytest.importorskip("py7zr")
    with py7zr.SevenZipFile(folder / name, "w", filters=[{"id": py7zr.FILTER_BZIP2}]) as out:
        for member, data in members.items():
            out.writestr(data.encode(), member)
    return folder / name


def test_an_archive_is_read_as_its_posts_are(tmp_path):
    plain = HEAD + (QUESTION + ANSWER) * 300 + TAIL
    path = archive(tmp_path, "beer.stackexchange.com.7z", {"Badges.xml": "<badges/>", "Posts.xml": plain, "Users.xml": "<users/>"})
    rows, bad, _ = read(path, 1000)
    assert not bad
    wanted = of(tmp_path, plain.encode())[0]
    assert [row | {"id": ""} for row in rows] == [row | {"id": ""} for row in wanted]
    assert [row["id"].rpartition(":")[2] for row in rows] == [row["id"].rpartition(":")[2] for row in wanted]


def test_every_dump_of_an_archive_is_read(tmp_path):
    dump = HEAD + QUESTION + TAIL
    path = archive(
        tmp_path, "two.7z", {"a.example/Posts.xml": dump, "b.example/Posts.xml": dump, "Posts.xml": dump, "c/Posts.xml": "<none/>"}
    )
    rows, bad, _ = read(path)
    begin = len(HEAD.encode()) + 2
    assert [(row["id"], row["site"]) for row in rows] == [
        (f"two.7z:a.example/Posts.xml:{begin}", "a.example"),
        (f"two.7z:b.example/Posts.xml:{begin}", "b.example"),
        (f"two.7z:Posts.xml:{begin}", "two"),
    ]
    assert [(b.place, b.whole_file) for b in bad] == [("two.7z:c/Posts.xml", False)]


def test_no_archive_is_unpacked_without_end(tmp_path):
    path = archive(tmp_path, "many.7z", {f"{n:02}/Posts.xml": HEAD + QUESTION + TAIL for n in range(18)})
    rows, (bad,), _ = read(path)
    assert len(rows) == 16
    assert bad.reason.startswith("2 more Posts.xml in the archive")


def test_an_archive_of_another_table_holds_no_posts(tmp_path):
    rows, bad, skipped = read(archive(tmp_path, "stackoverflow.com-Comments.7z", {"Comments.xml": "<comments/>"}))
    assert (rows, bad, skipped) == ([], [], {"no_posts": 1})


def test_a_damaged_archive_costs_itself(tmp_path):
    path = archive(tmp_path, "beer.stackexchange.com.7z", {"Posts.xml": HEAD + QUESTION * 300 + TAIL})
    path.write_bytes(path.read_bytes()[:-100])
    rows, (bad,), _ = read(path)
    assert (rows, bad.whole_file) == ([], True)


def test_what_comes_before_damage_in_an_archive_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(stackexchange, "BLOCK", 10_000)
    py7zr = pytest.importorskip("py7zr")
    path = tmp_path / "a.7z"
    with py7zr.SevenZipFile(path, "w", filters=[{"id": py7zr.FILTER_COPY}]) as out:
        out.writestr((HEAD + ANSWER * 300 + TAIL).encode(), "Posts.xml")
    data = bytearray(path.read_bytes())
    data[data.rindex(b'Body="a"') + 6] = ord("b")
    path.write_bytes(data)
    rows, (bad,), _ = read(path)
    assert len(rows) > 200
    assert ("sum" in bad.reason, bad.whole_file) == (True, False)


CORPUS = Path(__file__).parents[3] / "shared/corpus/stackexchange"


@pytest.mark.skipif(not CORPUS.is_dir(), reason="no StackExchange dumps")
def test_real_dumps_are_read_as_elementtree_reads_them():
    rows, bad, skipped = read(f"{CORPUS}/**/Posts.xml", 100_000)
    wanted = [row.attrib for path in sorted(CORPUS.glob("**/Posts.xml")) for row in ElementTree.parse(path).getroot()]
    posts = [w for w in wanted if w["PostTypeId"] in ("1", "2")]
    assert not bad
    assert skipped.total() == len(wanted) - len(posts)
    assert [(r["post"], r["text"], r["title"], r["date"]) for r in rows] == [
        (int(w["Id"]), w["Body"], w.get("Title"), w["CreationDate"]) for w in posts
    ]
