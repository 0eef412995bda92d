"""The README stays true: the files it names exist, and its flags are those of mlpserve --help.

usage: readme_test.py MLPSERVE
"""

import pathlib
import re
import subprocess
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
README = (ROOT / "README.md").read_text()
TOPS = "client|deploy|kernels|proto|server|tests"


class ReadmeTest(unittest.TestCase):
    def test_every_file_and_folder_it_names_exists(self):
        named = set(re.findall(rf"(?<![\w/.])(?:\./)?((?:{TOPS})/[\w./-]*\w)", README))
        self.assertGreater(len(named), 10)
        missing = [p for p in named if not (ROOT / p).exists() and not list(ROOT.glob(p + ".*"))]
        self.assertEqual(missing, [])

    def test_its_flags_are_the_programs(self):
        text = subprocess.run([MLPSERVE, "--help"], capture_output=True, text=True, check=True)
        table = README[README.index("## Flags"):README.index("## To change X")]
        said = set(re.findall(r"(--[a-z][a-z-]+)", table)) - {"--help"}
        offered = set(re.findall(r"(--[a-z][a-z-]+)", text.stdout)) - {"--help", "--version"}
        self.assertEqual(said, offered)


if __name__ == "__main__":
    MLPSERVE = sys.argv.pop(1)
    unittest.main()
