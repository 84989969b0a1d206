"""The command line as other programs and hostile users see it: exit codes, one message, nothing half done."""

from __future__ import annotations

import gzip
import importlib.util
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import tomllib
from pathlib import Path

import punkt_tables
import pytest
import support

from curate import trial
from curate.progress import Lines

ROOT = Path(__file__).parent.parent
COMMANDS = ["run", "plan", "stats", "verify", "try", "stages", "recipes", "sample", "fetch"]


def curate(*words: object, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command, as a shell would start it."""
    command = [sys.executable, "-m", "curate.cli", *map(str, words)]
    clean = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    return subprocess.run(command, capture_output=True, text=True, timeout=180, cwd=cwd, env=clean | {"COLUMNS": "200"} | environment)


def message(done: subprocess.CompletedProcess[str], code: int) -> str:
    """The one message of a command that failed as it should."""
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    said = [line for line in done.stderr.splitlines() if line.startswith("curate: ")]
    assert len(said) == 1, done.stderr
    assert done.stderr.rstrip().endswith(said[0])
    return said[0].removeprefix("curate: ")


WRONG = [  # what is given to `curate run`, what the message says
    (["nowhere.yaml"], "nowhere.yaml: no such recipe file"),
    (["RECIPE", "--set", "sede=3"], "did you mean seed?"),
    (["RECIPE", "--set", "seed=three"], "seed: expected a whole number"),
    (["RECIPE", "--set", "sources.web.length.Chars.least=few"], "least: expected a valid integer, found 'few'"),
    (["RECIPE", "--set", "corpus=[gopher.Qualty]"], "did you mean Quality?"),
    (["RECIPE", "--set", "corpus=[no.such.Stage]"], "no.such.Stage: no such stage"),
    (["RECIPE", "--set", "corpus=[language.FastText: {model: ./no.bin}]"], "no such model file: ./no.bin"),
    (["RECIPE", "--set", "corpus=[language.FastText: {model: lid}]"], "no model lid under `models:`"),
    (["RECIPE", "--set", "sources.web.0.paths=[nowhere/*.jsonl]"], "nothing matches nowhere/*.jsonl"),
    (["RECIPE", "--set", "sources.web.0.paths=['[']"], "nothing matches ["),
    (["RECIPE", "--set", "sources.web.0.paths=['s3://nobody/x']"], "credentials"),
    (["RECIPE", "--set", "mix.weights={web: 1, bokks: 1}"], "there is no source bokks; did you mean books?"),
    (["RECIPE", "--set", "mix.weights={web: 1}"], "books has no weight"),
    (["RECIPE", "--set", "mix.tokens=1e15"], "raise max_epochs, or add data"),
    (["RECIPE", "--set", "tokens.tokenizer={sentencepiece: no.model}"], "there is no file no.model"),
    (["RECIPE", "--set", "tokens.tokenizer={sentencepiece: RECIPE}"], "recipe.yaml"),
    (["RECIPE", "--set", "engine.batch_rows=0"], "batch_rows"),
    (["RECIPE", "--only", "bokks"], "did you mean books?"),
    (["RECIPE", "--local", "--workers", "2"], "--local runs in this process"),
    (["RECIPE", "--local", "--ray", "auto"], "--local runs in this process"),
    (["RECIPE", "--out", "FILE/below"], "cannot be written: this path leads through a file"),
    (["RECIPE", "--out", "FILE"], "cannot be written: this path leads through a file"),
    (["FILE"], "a recipe is a mapping"),
    (["."], "cannot be read: Is a directory"),
]


@pytest.mark.parametrize(("words", "says"), WRONG, ids=[w[1][:50] for w in WRONG])
def test_a_mistake_is_one_message_and_nothing_is_begun(recipe: str, tmp_path: Path, words: list[str], says: str) -> None:
    (tmp_path / "file").write_text("- no recipe\n")
    words = [w.replace("RECIPE", recipe).replace("FILE", str(tmp_path / "file")) for w in words]
    words += [] if "--out" in words else ["--out", str(tmp_path / "out")]
    done = curate("run", *words, cwd=tmp_path)
    assert says in message(done, 2)
    assert done.stdout == ""
    assert "to do" not in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    "words", [["run"], ["run", "r", "--fast"], ["go"], ["run", "r", "--workers", "0"], ["run", "r", "--workers", "many"]]
)
def test_words_that_no_command_knows_are_exit_code_2(words: list[str]) -> None:
    done = curate(*words)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr


@pytest.mark.parametrize("command", ["stats", "verify"])
def test_a_folder_without_a_run_is_a_mistake(tmp_path: Path, command: str) -> None:
    assert "no run is here" in message(curate(command, tmp_path / "nowhere"), 2)
    assert not list(tmp_path.iterdir())


def test_data_beyond_its_error_budget_are_exit_code_1(recipe: str, tmp_path: Path) -> None:
    done = curate("run", recipe, "--local", "--out", tmp_path / "out", "--set", "sources.web.0.max_bad=0.001")
    said = message(done, 1)
    assert "1 of 121 records are bad" in said
    assert "max_bad is 0.10%" in said
    assert Path(re.findall(r"the first are in (\S+\.jsonl)", said)[0]).read_text()
    funnel = curate("stats", tmp_path / "out")
    unfinished = message(funnel, 1)
    assert re.search(r"^web +read.jsonl.Jsonl +121 +120 ", funnel.stdout, re.M)
    assert "no finished run" in unfinished
    assert f"so far, with fates and quarantine, is in {tmp_path}/out/passes" in unfinished
    assert "curate run RECIPE --out" in unfinished


def test_no_escape_sequence_reaches_a_terminal(tmp_path: Path) -> None:
    """Names of files are part of ids."""
    (tmp_path / "a\x1b[31m.jsonl").write_text('{"text": "one \\u001b[31m"}\n')
    tried = curate("try", "length.Chars", tmp_path / "a\x1b[31m.jsonl", "--set", "least=100")
    assert "a\ufffd[31m.jsonl:0  one \ufffd[31m" in tried.stdout
    wrong = curate("try", "length.Chars", tmp_path / "b\x1b[31m")
    assert "\x1b" not in tried.stdout + tried.stderr + wrong.stdout + wrong.stderr


def test_no_escape_sequence_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines()
    lines.start("\x1b[2J", 1, 0)
    lines.warn("a\x1b[31m")
    lines.say("b\x9b31m\nc")
    assert capsys.readouterr().err == "\ufffd[2J: 1 to do\nwarning: a\ufffd[31m\nb\ufffd31m\nc\n"


def test_a_document_of_any_kind_is_handled_and_counted(tmp_path: Path) -> None:
    texts = ["nul \0 in it", "\ud800 half a pair \udfff", "", "word " * 20_000_000]
    with open(tmp_path / "odd.jsonl", "w") as file:
        for text in texts:
            file.write(json.dumps({"text": text}) + "\n")
        file.write('{"url": "no text"}\n\n')
    (tmp_path / "none.jsonl").touch()
    source = "    - read.jsonl.Jsonl: {{paths: [{}.jsonl], max_bad: 0.5}}\n    - length.Words: {{least: 0, most: 100000000}}\n"
    (tmp_path / "r.yaml").write_text("sources:\n  odd:\n" + source.format("odd") + "  none:\n" + source.format("none"))
    done = curate("run", "r.yaml", "--local", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "warning: source none holds no document" in done.stderr
    rows = json.loads(curate("stats", "runs/r", "--json", cwd=tmp_path).stdout)
    found = {(r["source"], r["stage"]): (r["docs_in"], r["docs_out"], r["quarantined"]) for r in rows}
    assert found == {
        ("odd", "read.jsonl.Jsonl"): (5, 4, 1),
        ("odd", "length.Words"): (4, 4, 0),
        ("none", "read.jsonl.Jsonl"): (0, 0, 0),
        ("none", "length.Words"): (0, 0, 0),
    }
    assert rows[0]["chars_out"] == sum(map(len, texts))


SLOW = """
import os, time
from dataclasses import dataclass
from curate.stage import Filter

@dataclass(frozen=True)
class Slowly(Filter):
    def keep(self, batch):
        time.sleep(float(os.environ.get("TEST_SECONDS", 0)))
        return batch.chars >= 0
"""


@pytest.fixture
def slow(corpus: Path, tmp_path: Path) -> str:
    """A recipe whose stage takes as long as the environment says."""
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "slow_stage.py").write_text(SLOW)
    sources = {"web": [{"read.jsonl.Jsonl": {"paths": ["${data}/web"], "max_bad": 0.05}}, "slow_stage.Slowly", "dedup.exact.Exact"]}
    return support.write_recipe(tmp_path / "recipes", corpus, sources=sources, corpus=[], mix=None)


@pytest.mark.parametrize(
    ("how", "number", "everyone"),
    [
        ("--local", signal.SIGINT, False),
        ("--local", signal.SIGTERM, False),
        ("--workers=2", signal.SIGINT, True),
        ("--workers=2", signal.SIGTERM, False),
    ],
)
def test_an_interrupted_run_says_so_and_goes_on_to_the_same_bytes(
    slow: str, tmp_path: Path, how: str, number: signal.Signals, everyone: bool
) -> None:
    """On a terminal Ctrl-C goes to every process of the command; `kill` and schedulers ask only the first."""
    out = tmp_path / "out"
    command = [sys.executable, "-m", "curate.cli", "run", slow, "--out", str(out), how]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, env=os.environ | {"TEST_SECONDS": "0.3"}
    )
    try:
        deadline = time.monotonic() + 60
        while len(list(out.glob("passes/web/1-*/*.json"))) < 2:
            assert time.monotonic() < deadline
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        (os.killpg if everyone else os.kill)(process.pid, number)
        said, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert errors.splitlines()[-1] == "curate: interrupted; the same command goes on from here"
    assert "Traceback" not in errors
    assert not said
    first = {p: p.stat().st_mtime_ns for p in out.glob("passes/web/1-*/*.json")}
    again = curate("run", slow, "--out", out, "--local")
    assert again.returncode == 0, again.stderr
    assert f"{len(first)} done before" in again.stderr
    assert {p: p.stat().st_mtime_ns for p in first} == first
    support.run(slow, tmp_path / "undisturbed")
    assert support.digests(out) == support.digests(tmp_path / "undisturbed")
    assert support.counts(out) == support.counts(tmp_path / "undisturbed")


@pytest.fixture(scope="module")
def finished(recipe: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The OUT of `curate run`."""
    out = tmp_path_factory.mktemp("cli") / "out"
    done = curate("run", recipe, "--out", out, "--local")
    assert done.returncode == 0, done.stderr
    assert f"documents  {out}/documents" in done.stdout
    return out


def test_the_funnel_for_people_and_for_programs(finished: Path) -> None:
    shown = curate("stats", finished)
    assert shown.returncode == 0
    for row in support.counts(finished):
        assert re.search(
            rf"^{row['source']}\s+{re.escape(str(row['stage']))}\s+{row['docs_in']:,}\s+{row['docs_out']:,}\s", shown.stdout, re.M
        )
    rows = json.loads(curate("stats", finished, "--json").stdout)
    keys = {"source", "stage", "docs_in", "docs_out", "chars_in", "chars_out", "seconds", "dropped", "failed", "histograms"}
    assert all(keys <= row.keys() for row in rows)
    assert all(row["docs_in"] == row["docs_out"] + sum(row["dropped"].values()) + row["quarantined"] for row in rows)


@pytest.mark.parametrize("text", ["", "[]x", '{"source": 1}', '[{"source": 1}]', "5"])
def test_a_broken_funnel_file_is_a_message(tmp_path: Path, text: str) -> None:
    (tmp_path / "stats.json").write_text(text)
    assert "stats.json: not what a run writes" in message(curate("stats", tmp_path), 1)


def test_shards_are_proven_until_a_byte_changes(finished: Path, tmp_path: Path) -> None:
    done = curate("verify", finished)
    assert (done.returncode, done.stderr) == (0, "")
    shutil.copytree(finished, tmp_path / "out")
    shard = sorted((tmp_path / "out" / "tokens").glob("*.bin"))[1]
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.unlink()  # it may be a link
    shard.write_bytes(data)
    done = curate("verify", tmp_path / "out")
    assert "problem" in message(done, 1)
    assert shard.name in done.stdout


def test_a_plan_shows_what_is_there_and_changes_nothing(recipe: str, finished: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in finished.rglob("*") if p != finished}
    done = curate("plan", recipe, "--out", finished)
    assert done.returncode == 0
    assert len(re.findall(r"shards done", done.stdout)) == 7
    assert "mix and tokens" in done.stdout
    assert {p: p.stat().st_mtime_ns for p in finished.rglob("*") if p != finished} == before


def test_another_recipe_in_the_same_folder_leaves_nothing_of_the_first(recipe: str, finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(finished, out)
    done = curate("run", recipe, "--out", out, "--local", "--only", "books", "--set", "mix=", "--set", "tokens=")
    assert done.returncode == 0, done.stderr
    assert {p.parent.name for p in out.glob("documents/*/*")} == {"books"}
    assert not list(out.glob("quarantine/*/*"))
    assert not (out / "tokens" / "manifest.json").exists()
    assert {row["source"] for row in support.counts(out)} == {"books"}
    again = curate("run", recipe, "--out", out, "--local")  # and back
    assert again.returncode == 0, again.stderr
    assert support.digests(out) == support.digests(finished)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smallest sample."""
    folder = tmp_path_factory.mktemp("sample")
    done = curate("sample", folder, "--documents", "100")
    if done.returncode:
        pytest.skip(f"no sample here: {done.stderr}")
    return folder


@pytest.mark.parametrize(
    ("stage", "pattern", "says"),
    [
        ("gopher.Quality", "commoncrawl/wet/*.wet.gz", "of {n} kept"),
        ("gopher.Repetition", "commoncrawl/warc/*.warc.gz", "of {n} kept"),
        ("length.Words", "c4/*.json.gz", "of {n} kept"),
        ("dedup.exact.Exact", "code/*.parquet", "of {n} kept"),
        ("read.wet.Wet", "commoncrawl/wet/*.wet.gz", "{n} documents"),
    ],
)
def test_a_stage_is_tried_on_every_raw_kind(sample: Path, stage: str, pattern: str, says: str) -> None:
    done = curate("try", stage, sorted(sample.glob(pattern))[0], "--documents", "20", "--show", "1")
    assert done.returncode == 0, done.stderr
    count = re.match(r"read\.\w+\.\w+: (\d+) documents", done.stdout)
    assert count
    assert says.format(n=count[1]) in done.stdout


@pytest.mark.parametrize(
    ("file", "reader"),
    [
        ("src/arXiv_src_0704_001.tar", "read.arxiv.Arxiv"),
        ("84.txt", "read.gutenberg.Gutenberg"),
        ("a.epub", "read.epub.Epub"),
        ("beer.stackexchange.com/Posts.xml", "read.stackexchange.Posts"),
        ("Posts.xml", "read.stackexchange.Posts"),
        ("beer.stackexchange.com.7z", "read.stackexchange.Posts"),
        ("enwiki-pages-articles.xml.bz2", "read.wikipedia.Wikipedia"),
        ("outposts.txt.jsonl.gz", "read.jsonl.Jsonl"),
    ],
)
def test_the_name_of_a_file_says_which_reader_is_meant(file: str, reader: str) -> None:
    assert trial.reader_of(file) == reader


def test_papers_are_tried_on_a_tar_of_arxivs(tmp_path: Path) -> None:
    paper = gzip.compress(b"\\def\\x{X}\\section{One} \\x")
    info = tarfile.TarInfo("0704/0704.0001.gz")
    info.size = len(paper)
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.addfile(info, io.BytesIO(paper))
    tried = curate("try", "latex.Clean", tmp_path / "a.tar")
    assert "1 of 1 kept" in tried.stdout
    assert "\\section{One} X" in tried.stdout


def test_a_stage_behind_another_is_tried_on_a_file_of_a_run(finished: Path) -> None:
    file = sorted((finished / "documents" / "web").glob("*.parquet"))[0]
    assert "kept (100.0%)" in curate("try", "dedup.exact.Exact", file).stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["gopher.Qualty", "FILE"], "did you mean Quality?"),
        (["gopher.Quality", "nowhere.jsonl"], "nothing matches nowhere.jsonl"),
        (["gopher.Quality", "nowhere.parquet"], "nothing matches nowhere.parquet"),
        (["gopher.Quality", "x.doc"], "which reader is meant?"),
        (["gopher.Quality", "FILE", "--set", "min_wrds=3"], "did you mean min_words?"),
        (["gopher.Quality", "FILE", "--set", "min_words"], "expected PARAMETER=VALUE"),
        (["gopher.Quality", "FILE", "--set", "min_words=x"], "expected a valid integer, found 'x'"),
        (["language.Keep", "FILE"], "reads the column language"),
        (["language.FastText", "FILE", "--set", "model=./no.bin"], "no.bin"),
    ],
)
def test_what_cannot_be_tried_is_one_message(corpus: Path, words: list[str], says: str) -> None:
    assert says in message(curate("try", *(w.replace("FILE", str(corpus / "web" / "0.jsonl")) for w in words)), 2)


def test_stages_tell_of_themselves() -> None:
    listing = curate("stages").stdout
    assert re.search(r"^gopher\.Quality\s+Filter\s+\S", listing, re.M)
    one = curate("stages", "gopher.Quality").stdout
    assert re.search(r"min_words\s+int = 50", one)
    assert "properties" in json.loads(curate("stages", "--schema").stdout)
    assert curate("stages", "--markdown").stdout.startswith("# Stages")
    assert "did you mean" in message(curate("stages", "gopher.Qualty"), 2)


def test_recipes_are_run_by_their_names(sample: Path, tmp_path: Path) -> None:
    assert re.search(r"^quickstart\s+\S", curate("recipes").stdout, re.M)
    done = curate(
        "run", "quickstart", "--set", f"data={sample}", "--only", "code", "--local", "--set", "tokens=", "--set", "mix=", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs" / "quickstart" / "recipe.yaml").exists()


def test_every_command_helps() -> None:
    assert all(re.search(rf"\b{c}\b", curate("--help").stdout) for c in COMMANDS)
    for command in COMMANDS:
        done = curate(command, "--help")
        assert done.returncode == 0
        assert "Usage:" in done.stdout


def test_shells_complete() -> None:
    assert "complete" in curate("--show-completion", "bash", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1").stdout


def test_what_is_installed_holds_the_recipes_and_the_command() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["tool"]["setuptools"]["package-data"]["recipes"] == ["*.yaml"]
    assert "recipes*" in project["tool"]["setuptools"]["packages"]["find"]["include"]
    assert project["project"]["scripts"] == {"curate": "curate.cli:main"}
    found = importlib.util.find_spec("recipes")
    assert found
    assert found.origin
    assert list(Path(found.origin).parent.glob("*.yaml"))


def test_a_reader_that_goes_away_is_no_error_of_ours() -> None:
    command = f"{sys.executable} -m curate.cli stages --schema | head -c 10"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60)
    assert "Traceback" not in done.stderr


def test_try_prints_whole_numbers_in_full_and_counts_lines_by_rule(tmp_path: Path) -> None:
    file = tmp_path / "pages.jsonl"
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in ("no end mark\nnor here", "This line has enough words. " * 7000)))
    said = curate("try", "c4.Clean", file, "--set", f"punkt={punkt_tables.write(tmp_path)}").stdout
    assert "195,999 against 190,000: " in said
    assert "lines that go: no_end_mark 2" in said
