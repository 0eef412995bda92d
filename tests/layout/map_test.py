"""The table "To change X, edit Y", wherever it stands: every row names files, each by its whole path,
and each exists.
"""

import pathlib
import re
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
HEADING = "## To change X, edit Y"


def rows():
    pages = [page for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
             if HEADING in page.read_text()]
    assert len(pages) == 1, f"expected one page with the table, found {pages}"
    section = pages[0].read_text().split(HEADING)[1].split("\n## ")[0]
    table = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[2:]]


def missing(cell):
    """What stands between backquotes in `cell` and is no path of ours: a flag is none by its dash."""
    named = [name for name in re.findall(r"`([^`]+)`", cell) if not name.startswith("--")]
    return [name for name in named if not (ROOT / name).exists()]


class MapTest(unittest.TestCase):
    def test_every_row_names_files_that_exist(self):
        for what, where in rows():
            self.assertRegex(where, r"`[^`]+`", what)
            self.assertEqual(missing(where), [], what)

    def test_there_are_rows_for_what_is_changed_most(self):
        subjects = " | ".join(what for what, _ in rows())
        for subject in ("a function of an epilogue", "a field of `batching`", "an RPC", "a metric",
                        "a second kind of device", "a flag"):
            self.assertIn(subject, subjects)

    def test_a_path_that_is_not_there_is_found(self):
        self.assertEqual(missing("`server/main.cc`, `server/nowhere.cc`, `policy.h`, `--backend`"),
                         ["server/nowhere.cc", "policy.h"])


if __name__ == "__main__":
    unittest.main()
