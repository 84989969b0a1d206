"""arXiv: the tars of LaTeX sources of some months, with size and MD5 from the manifest of its bucket (spec 7.1).

The bucket is one where the requester pays for the transfer: each request is signed with the user's own credentials, found where every AWS
program finds them (environment, profile, role). Signing is botocore's; the transfer is that of every other source.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any
from xml.parsers import expat

from curate.errors import RecipeError
from curate.fetch.wanted import Wanted, digest, whole
from curate.fetch.web import Refused, Web

ADDRESS = "https://arxiv.s3.amazonaws.com"
REGION = "us-east-1"  # where the bucket is
MANIFEST = "src/arXiv_src_manifest.xml"
NAME = re.compile(r"src/(arXiv_src_\d{4}_\d{3}\.tar)")
MONTH = re.compile(r"\d{2}(0[1-9]|1[0-2])")
LISTING = 64 << 20  # bytes; it has some 6 MB
FIELD = 200  # characters
ENTRIES = 200_000  # it has some 15,000


def signer() -> Callable[[str], Mapping[str, str]]:
    """Headers for a request by this user, who pays for it. Raises RecipeError without credentials."""
    try:
        from botocore.auth import S3SigV4Auth  # type: ignore[import-untyped]
        from botocore.awsrequest import AWSRequest  # type: ignore[import-untyped]
        from botocore.exceptions import BotoCoreError  # type: ignore[import-untyped]
        from botocore.session import Session  # type: ignore[import-untyped]
    except ImportError:
        raise RecipeError("arXiv's bucket wants signed requests: pip install 'curate[s3]'") from None
    try:
        credentials = Session().get_credentials()
    except BotoCoreError as error:
        raise RecipeError(f"arXiv: the AWS credentials cannot be used: {error}") from None
    if credentials is None:
        raise RecipeError(
            "arXiv's bucket lets the requester pay: it wants AWS credentials of your own, and none were found. Set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or AWS_PROFILE for a profile of ~/.aws; the transfer is charged to that account"
        )

    def sign(url: str) -> Mapping[str, str]:
        request = AWSRequest("GET", url, headers={"x-amz-request-payer": "requester"})
        S3SigV4Auth(credentials.get_frozen_credentials(), "s3", REGION).add_auth(request)
        return dict(request.headers.items())

    return sign


def files(web: Web, base: str, months: str) -> list[Wanted]:
    """The tars of these months, or of `all`."""
    spans = parse(months)
    entries = manifest(web.read(f"{base}/{MANIFEST}", LISTING)[0], f"{base}/{MANIFEST}")
    found, known = [], set()
    for entry in entries:
        name, month = NAME.fullmatch(entry.get("filename", "")), entry.get("yymm", "")
        if not name or not MONTH.fullmatch(month):
            continue
        known.add(age(month))
        if spans is None or any(first <= age(month) <= last for first, last in spans):
            url = f"{base}/{entry['filename']}"
            found.append(Wanted(url, f"arxiv/{name[1]}", whole(entry.get("size")), digest({"md5": entry.get("md5sum")}, "md5")))
    if not known:
        raise Refused(f"{base}/{MANIFEST}: names no tar of sources. Name a mirror with --from")
    if not found:
        first, last = (f"{n // 12 % 100:02}{n % 12 + 1:02}" for n in (min(known), max(known)))
        raise RecipeError(f"--months {months}: the manifest has none of these; it goes from {first} to {last}")
    return found


def parse(months: str) -> list[tuple[int, int]] | None:
    """`2301`, `2206-2208` and lists of them as spans; None for `all`."""
    if months == "all":
        return None
    spans = []
    for part in months.split(","):
        first, dash, last = part.strip().partition("-")
        ends = (first, last if dash else first)
        if not all(MONTH.fullmatch(m) for m in ends) or age(ends[0]) > age(ends[1]):
            raise RecipeError(
                f"--months {months}: expected `all`, or months as arXiv writes them, year and month: 2301, 2206-2208, 9912,0001"
            )
        spans.append((age(ends[0]), age(ends[1])))
    return spans


def age(month: str) -> int:
    """Months since the year 1900; the first papers are of 1991."""
    year, number = int(month[:2]), int(month[2:])
    return (year + (0 if year > 90 else 100)) * 12 + number - 1


def manifest(data: bytes, url: str) -> list[dict[str, str]]:
    """The fields of each <file>; entities are refused, not expanded."""
    entries: list[dict[str, str]] = []
    stack: list[str] = []

    def start(name: str, _: Any) -> None:
        stack.append(name)
        if len(stack) > 8 or len(entries) > ENTRIES:
            raise Refused(f"{url}: is no manifest of arXiv: too deep, or too many files")
        if name == "file":
            entries.append({})

    def text(characters: str) -> None:
        if len(stack) > 1 and stack[-2] == "file":
            entries[-1][stack[-1]] = (entries[-1].get(stack[-1], "") + characters.strip())[:FIELD]

    def refuse(*_: Any) -> None:
        raise Refused(f"{url}: declares an entity, which no manifest does")

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.CharacterDataHandler, parser.EntityDeclHandler = start, text, refuse
    parser.EndElementHandler = lambda _: stack.pop()
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise Refused(f"{url}: is no XML ({error}). Name a mirror with --from") from None
    return entries
