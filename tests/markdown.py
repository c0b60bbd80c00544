"""Read Markdown: the commands a page tells people to run, and its links."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)")
ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:|#|/")
"""A target with a scheme, on the same page, or absolute."""


def marked_commands(text: str, mark: str) -> list[str]:
    """Return the command lines of all `sh` blocks that follow `<!-- run: mark -->`.

    A line that a backslash continues is joined with the next; comments are left out.
    """
    block = re.compile(rf"<!-- run: {mark} -->\n+```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
    lines = "".join(block.findall(text)).replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def broken_links(folder: Path, pages: Iterable[Path]) -> list[str]:
    """Return each relative link of `pages` below `folder` that leads to no file."""
    broken = []
    for page in pages:
        text = FENCE.sub("", (folder / page).read_text(encoding="utf-8"))
        for target in LINK.findall(text):
            path = target.partition("#")[0]
            if not ELSEWHERE.match(target) and not (folder / page.parent / path).exists():
                broken.append(f"{page}: {target}")
    return broken
