"""Plain English: docstrings, comments, texts for users and documents avoid the patterns that hold newcomers up.

`language_exemptions.txt` lists files that are not rewritten yet, one ``RULE PATH`` a line. It may only get shorter: an
entry without a finding fails.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = (
    "schemas",
    "transport",
    "models",
    "monitoring",
    "producers",
    "stream_processors",
    "actuators",
    "replay",
    "operations",
    "gateway",
    "infra",
    "benchmarks",
)
EXEMPTIONS = Path(__file__).with_name("language_exemptions.txt")

_QUESTION = re.compile(r"(?:What|Whatever|Whether|Who|Whoever|How|Where|Which|When|Why)\b|As `")
_PHRASES = re.compile(
    r"(?<!there )\b(?:is|are) none\b(?! of)"  # "is None" is code
    r"|(?i:\bso many\b|\bhas the word\b|\bmade anew\b|\bgone on with\b|\bis no help\b|\bno harm\b|\ball the same\b)"
)
_ARTICLE = re.compile(r"(?:A|An|The)\b")
_ITEM = re.compile(r"\s*(?:[-*]|[0-9]+\.)\s+(.*)")
_HOMELY = re.compile(r"(?:^|_)(?:meant|said|told|held|away)(?:_|$)")
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)

#: Place of a finding, as ``rule: text``.
Findings = Iterator[tuple[str, str]]


def of_text(text: str, *, is_summary: bool) -> Findings:
    """Yield the findings of a docstring, a comment or a text for users."""
    lines = text.strip().splitlines()
    for number, line in enumerate(lines):
        item = _ITEM.fullmatch(line)
        start = item[1] if item else line.strip() if number == 0 and is_summary else ""
        if _QUESTION.match(start):
            yield "question", line.strip()
    for found in _PHRASES.finditer(" ".join(lines)):
        yield "phrase", found.group()


def of_markdown(text: str) -> Findings:
    """Yield the findings of a document; code blocks are left out."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    for line in prose.splitlines():
        item = _ITEM.fullmatch(line)
        if item and _QUESTION.match(item[1]):
            yield "question", line.strip()
    for found in _PHRASES.finditer(prose):
        yield "phrase", found.group()


def of_module(source: str) -> Findings:
    """Yield the findings of a module: docstrings, comments, names, texts for users."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, *_FUNCTIONS)):
            docstring = ast.get_docstring(node) or ""
            yield from of_text(docstring, is_summary=True)
            if isinstance(node, _FUNCTIONS) and not _is_property(node) and _ARTICLE.match(docstring):
                yield "article", docstring.splitlines()[0]
        yield from _of_names(node)
        for text in _texts_for_users(node):
            yield from of_text(text, is_summary=False)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield from of_text(token.string.lstrip("#: "), is_summary=True)


def _is_property(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    names = {getattr(each, "id", getattr(each, "attr", "")) for each in node.decorator_list}
    return bool(names & {"property", "cached_property", "fixture"})


def _of_names(node: ast.AST) -> Findings:
    names: list[str] = []
    if isinstance(node, _FUNCTIONS):
        arguments = node.args
        names = [node.name, *(each.arg for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs))]
    elif isinstance(node, ast.ClassDef):
        names = [
            each.target.id
            for each in node.body
            if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)
        ]
    elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
        names = [node.attr]
    for name in names:
        if _HOMELY.search(name):
            yield "name", name


def _texts_for_users(node: ast.AST) -> Iterator[str]:
    parts: list[ast.expr] = []
    if isinstance(node, ast.Call):
        parts += [each.value for each in node.keywords if each.arg == "help"]
        if isinstance(node.func, ast.Attribute) and node.func.attr in ("echo", "print"):
            parts += node.args
    elif isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
        parts += node.exc.args
    for part in parts:
        yield "".join(
            str(each.value) for each in ast.walk(part) if isinstance(each, ast.Constant) and isinstance(each.value, str)
        )


def findings() -> dict[tuple[str, str], list[str]]:
    """Return all findings by rule and path."""
    found: dict[tuple[str, str], list[str]] = {}
    sources = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    documents = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")), ROOT / "benchmarks" / "RESULTS.md"]
    for path in [*sources, *documents]:
        read = of_module if path.suffix == ".py" else of_markdown
        for rule, text in read(path.read_text(encoding="utf-8")):
            found.setdefault((rule, path.relative_to(ROOT).as_posix()), []).append(text)
    return found


def test_texts_are_plain_english() -> None:
    exempt = {tuple(line.split(" ", 1)) for line in EXEMPTIONS.read_text(encoding="utf-8").splitlines()}
    found = findings()
    new = {f"{rule} {path}": texts for (rule, path), texts in found.items() if (rule, path) not in exempt}
    assert not new
    assert not exempt - set(found), "rewritten: take these lines out of language_exemptions.txt"


@pytest.mark.parametrize(
    ("source", "rules"),
    [
        ('"""Whether it works."""', ["question"]),
        ('def run():\n    """A run of all."""', ["article"]),
        ('class Run:\n    """A run.\n\n    - Where it lies.\n    """', ["question"]),
        ("x = 1  # what is none is left", ["phrase"]),
        ("# How it is done\nx = 1", ["question"]),
        ("def is_away(told): ...", ["name", "name"]),
        ('typer.Option(help="Frames, so many at once.")', ["phrase"]),
        ('raise ValueError(f"{x} is none")', ["phrase"]),
        ('class Run:\n    """A run of all; there is none of it."""\n\n    count: int = 0  # in all', []),
    ],
)
def test_patterns_are_found(source: str, rules: list[str]) -> None:
    assert [rule for rule, _ in of_module(source)] == rules


def test_code_blocks_of_documents_are_left_out() -> None:
    assert [rule for rule, _ in of_markdown("- What it is\n\n```\n- What it prints\n```\n")] == ["question"]
