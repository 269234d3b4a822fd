"""Turns the folk-tale collections into training text: plain prose, one paragraph per line, one document per story.

The files are scanned books. Contents pages, footnotes, page numbers, indexes and headings are not language that a
reader wants continued, so a paragraph stays only if it looks like prose, and headings become document boundaries.
"""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

HELDOUT_FILE = "aesops-fables.txt"
SKIPPED_FILES = ("andrew-langs-fairy-books.txt",)  # a thesis about folk-lore, not tales
SHORTEST_STORY, HELDOUT_SIZE = 300, 30_000
SIGNS = str.maketrans({"“": '"', "”": '"', "„": '"', "‘": "'", "’": "'", "—": " - ", "–": "-", "…": "...",
                       "_": None, "*": None, "Æ": "Ae", "æ": "ae", "Œ": "Oe", "œ": "oe"})
REFERENCES = re.compile(r"\[(?:FN#|Footnote )?\d+\]|\{\d+\}|\[\w\]|\[Pg \d+\]")
FOOTNOTE = re.compile(r"^\s*(?:\[(?:FN|Footnote|Illustration|\d)|\{\d+\}\s{2}|\(?\d+[.)])")
BOOKISH = re.compile(r"gutenberg|proofread|copyright|footnote|illustrat|chapter|\bpp?\. ?\d|ibid|l\.c\.|\bvol\b|"
                     r"\b1[6-9]\d\d\b", re.IGNORECASE)


def plain(text: str) -> str:
    """ASCII with straight quotes: accents and typographic quotes would cost rare tokens and teach nothing."""
    text = unicodedata.normalize("NFKD", REFERENCES.sub("", text).translate(SIGNS)).encode("ascii", "ignore").decode()
    text = re.sub(r"\s*--+\s*", " - ", text)
    return re.sub(r"\s+", " ", text).strip()


def is_prose(paragraph: str) -> bool:
    letters = [c for c in paragraph if c.isalpha()]
    return (len(letters) > 0.7 * len(paragraph) and sum(c.islower() for c in letters) > 0.85 * len(letters)
            and sum(c.isdigit() for c in paragraph) < 0.02 * len(paragraph)
            and paragraph[-1] in ".!?\"'" and not BOOKISH.search(paragraph))


def stories(path: Path) -> list[str]:
    raw = path.read_text(encoding="utf-8").replace("\r", "")
    documents: list[list[str]] = [[]]
    for block in re.split(r"\n\s*\n", raw):
        paragraph = plain(block)
        if not paragraph or FOOTNOTE.match(block):
            continue
        if is_prose(paragraph):
            documents[-1].append(paragraph)
        elif len(paragraph) < 80 and documents[-1] and paragraph[-1] not in ",;:-":
            documents.append([])
    joined = ["\n".join(paragraphs) for paragraphs in documents]
    return [text for text in joined if len(text) >= SHORTEST_STORY]


def is_clean(story: str) -> bool:
    """Sampled stories go wrong in recognisable ways: an unknown character, a second beginning inside a word."""
    return bool(story.strip()) and "<" not in story and not re.search(r"[a-z]nce upon", story) and story[0].isupper()


def training_documents(folktales: Path, sampled: Path | None) -> list[str]:
    documents = []
    for path in sorted(folktales.glob("*.txt")):
        if path.name != HELDOUT_FILE and path.name not in SKIPPED_FILES:
            documents += stories(path)
    if sampled:
        documents += [plain(story) for story in sampled.read_text().split("\n\n") if is_clean(story)]
    return documents


def heldout_text(folktales: Path) -> str:
    """The fables of the file that training never reads, without its learned introduction."""
    path = folktales / HELDOUT_FILE
    raw = path.read_text(encoding="utf-8")
    start = raw.rindex("The Cock and the Pearl")
    paragraphs = [plain(block) for block in re.split(r"\n\s*\n", raw[start:])]
    text = "\n".join(p for p in paragraphs if p and is_prose(p))
    return text[:text.index("\n", HELDOUT_SIZE)] + "\n"
