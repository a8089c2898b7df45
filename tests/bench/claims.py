"""What papers claim of their recipes, and what comes out here, on toys of seconds.

    python tests/bench/claims.py [--write results/claims.md] [RECIPE ...]

Everything from rewards to gradients is the recipe's own; models are tables of logits, but for
length_curriculum, which trains text:tiny on its home task. Intervals are of 95 % over seeds. A
claim that does not come out is told as such: a toy can refute that an effect is general, and cannot
show that it holds for language models.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench import claims_a, claims_b, claims_lengths
from tests.bench.toys import Finding

CLAIMS: dict[str, Callable[[], list[Finding]]] = {
    **claims_a.CLAIMS,
    **claims_b.CLAIMS,
    **claims_lengths.CLAIMS,
}


def main() -> None:
    """Run those that are asked for; print a table, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("recipes", nargs="*", metavar="RECIPE", default=[*CLAIMS])
    parser.add_argument("--write", type=Path, metavar="PATH")
    asked = parser.parse_args()
    unknown = [name for name in asked.recipes if name not in CLAIMS]
    if unknown:
        parser.error(f"no claims of {', '.join(unknown)}; there are: {', '.join(CLAIMS)}")
    lines = ["| recipe | claim | what came out | holds |", "|---|---|---|---|"]
    print("\n".join(lines), flush=True)
    for name in asked.recipes:
        started = time.perf_counter()
        for finding in CLAIMS[name]():
            holds = "yes" if finding.holds else "**no**"
            lines.append(f"| {name} | {finding.claim} | {finding.found} | {holds} |")
            print(lines[-1], flush=True)
        print(f"{name}: {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
    if asked.write:
        title, _, told = (__doc__ or "").partition("\n\n")
        told = told.partition("\n\n")[2]
        text = f"# {title.rstrip('.')}\n\n{told}\n" + "\n".join(lines) + "\n"
        asked.write.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
