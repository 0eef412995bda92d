"""Every program tells the version of CMakeLists.txt's project(), and CHANGELOG.md has a section for it.

usage: version_test.py VERSION PROGRAM...
"""

import pathlib
import re
import subprocess
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


class VersionTest(unittest.TestCase):
    def test_every_program_tells_it(self):
        for program in PROGRAMS:
            done = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
            self.assertEqual(done.stdout, f"{pathlib.Path(program).name} {VERSION}\n")

    def test_the_changelog_has_it_as_its_latest(self):
        sections = re.findall(r"^## \[(.+)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
        self.assertEqual(sections[:2], ["Unreleased", VERSION])


if __name__ == "__main__":
    VERSION, *PROGRAMS = sys.argv[1:]
    unittest.main(argv=sys.argv[:1])
