"""Checks that the commands in README.md exist: make targets, cvdecode subcommands, file names."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    readme = (ROOT / "README.md").read_text()
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    help_text = subprocess.run(
        [str(ROOT / ".venv/bin/cvdecode"), "--help"], capture_output=True, text=True, check=True
    ).stdout
    commands = set(re.findall(r"^ {2,6}([a-z][a-z-]*)(?: {2,}|$)", help_text, re.M))
    code = "\n".join(re.findall(r"```(?:sh|bash|console)\n(.*?)```", readme, re.S))
    inline = "\n".join(re.findall(r"`([^`\n]+)`", readme))
    problems = []
    for text in (code, inline):
        problems += [
            f"make {target}: no such target"
            for target in re.findall(r"\bmake ([a-z-]+)", text)
            if target not in targets
        ]
        problems += [
            f"cvdecode {command}: no such command"
            for command in re.findall(r"(?:^|\s)cvdecode ([a-z][a-z-]*)", text)
            if command not in commands
        ]
    problems += [
        f"{link}: linked file does not exist"
        for link in re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", readme)
        if not (ROOT / link).exists()
    ]
    for problem in problems:
        print(f"README.md: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
