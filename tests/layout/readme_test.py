"""The README and docs/ stay true: the files that they name and link exist, the flags are those of
mlpserve --help, and the README is one page.

usage: readme_test.py MLPSERVE
"""

import json
import pathlib
import re
import subprocess
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PAGES = [ROOT / "README.md", ROOT / "client/python/README.md", *sorted((ROOT / "docs").glob("*.md"))]
TOPS = "client|deploy|docs|kernels|proto|server|tests"
MOST_LINES = 110  # of the README: what a newcomer reads to the end


def names_a_file(path):
    return (ROOT / path).exists() or bool(list(ROOT.glob(path + ".*")))


class ReadmeTest(unittest.TestCase):
    def test_every_file_and_folder_they_name_exists(self):
        count = 0
        for page in PAGES:
            named = set(re.findall(rf"(?<![\w/.])(?:\./)?((?:{TOPS})/[\w./-]*\w)", page.read_text()))
            count += len(named)
            self.assertEqual([path for path in sorted(named) if not names_a_file(path)], [], page.name)
        self.assertGreater(count, 30)

    def test_every_link_leads_to_a_file_or_a_heading(self):
        for page in PAGES:
            for target in re.findall(r"\]\((?!https?:)([^)#]*)(?:#[\w-]*)?\)", page.read_text()):
                self.assertTrue((page.parent / target).exists(), f"{page.name} links {target}")

    def test_every_page_of_docs_is_linked_from_the_readme(self):
        readme = (ROOT / "README.md").read_text()
        for page in (ROOT / "docs").glob("*.md"):
            self.assertIn(f"(docs/{page.name})", readme)

    def test_a_row_of_what_to_edit_names_a_file(self):
        text = (ROOT / "docs/architecture.md").read_text()
        table = text[text.index("## To change X"):text.index("## Develop")]
        rows = [line for line in table.splitlines() if line.startswith("| ") and "---" not in line][1:]
        self.assertGreater(len(rows), 5)
        for row in rows:
            self.assertRegex(row, rf"`(?:{TOPS})/", row)

    def test_every_op_of_the_schema_is_listed(self):
        schema = (ROOT / "proto/mlp_model.proto").read_text()
        ops = re.findall(r"^    \w+ (\w+) = \d+;", re.search(r"oneof op \{(.*?)\}", schema, re.S).group(1), re.M)
        self.assertGreater(len(ops), 15)
        page = (ROOT / "docs/blocks.md").read_text()
        for op in ops:
            self.assertRegex(page, rf"`{op}\b", op)

    def test_the_example_of_a_block_is_the_one_that_is_served(self):
        text = re.search(r"```json\n(.*?)```", (ROOT / "docs/blocks.md").read_text(), re.S).group(1)
        self.assertEqual(json.loads(text), json.loads((ROOT / "deploy/models/digits/model.json").read_text()))

    def test_the_flags_are_the_programs(self):
        text = subprocess.run([MLPSERVE, "--help"], capture_output=True, text=True, check=True)
        table = (ROOT / "docs/flags.md").read_text()
        said = set(re.findall(r"(--[a-z][a-z-]+)", table)) - {"--help"}
        offered = set(re.findall(r"(--[a-z][a-z-]+)", text.stdout)) - {"--help", "--version"}
        self.assertEqual(said, offered)

    def test_the_readme_is_one_page(self):
        self.assertLessEqual(len((ROOT / "README.md").read_text().splitlines()), MOST_LINES)


if __name__ == "__main__":
    MLPSERVE = sys.argv.pop(1)
    unittest.main()
