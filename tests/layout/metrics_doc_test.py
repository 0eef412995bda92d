"""docs/metrics.md lists the metrics that the server has: names, types and meanings as in its table, labels as exported.

Its example queries name metrics that exist, and are ones that promtool reads where that is installed;
tests/integration/prometheus_test.py asks them.
"""

import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
DOC = (ROOT / "docs/metrics.md").read_text()
TABLE = (ROOT / "server/metrics/metric_table.cc").read_text()
EXPOSITION = (ROOT / "tests/server/metrics/scenario.prom").read_text()
ENTRY = re.compile(r'\{M::k\w+,\s*"(\w+)",\s*((?:"(?:[^"\\]|\\.)*"\s*)+),\s*k(Histogram|Counter|Gauge)')


def rows_of_doc():
    """name: (type, meaning, query)"""
    lines = [[cell.strip() for cell in line.strip("|\n").split(" | ")] for line in DOC.splitlines()
             if re.match(r"\| `(mlpserve|nv|process)_", line)]
    return {name.strip("` "): (kind, meaning, query.strip("` ")) for name, kind, _, meaning, query in lines}


def rows_of_table():
    found = {}
    for name, text, kind in ENTRY.findall(TABLE):
        found[name] = (kind.lower(), "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', text)))
    return found


def labels_of_doc():
    lines = [line.strip("|\n").split(" | ") for line in DOC.splitlines() if re.match(r"\| `(mlpserve|nv|process)_", line)]
    return {line[0].strip("` "): set(re.sub(r"\([^)]*\)", "", line[2]).replace(" ", "").split(",")) - {""} for line in lines}


def labels_of_exposition():
    """Of the metrics that block and server export in a test: name to the labels of its series, `le` left out."""
    found = {}
    for name, labels in re.findall(r"^(\w+)(?:\{(.*)\})? ", EXPOSITION, re.M):
        name = name if name in rows_of_doc() else re.sub(r"_(bucket|sum|count)$", "", name)
        found.setdefault(name, set()).update(re.findall(r'(\w+)="', labels))
    return {name: labels - {"le"} for name, labels in found.items()}


class MetricsDocTest(unittest.TestCase):
    def test_it_lists_every_metric_as_the_server_describes_it(self):
        table = rows_of_table()
        self.assertEqual(len(table), TABLE.count("{M::k"))
        self.assertEqual({name: row[:2] for name, row in rows_of_doc().items()}, table)

    def test_it_names_the_labels_that_are_exported(self):
        exported, doc = labels_of_exposition(), labels_of_doc()
        self.assertGreater(len(exported), 40)
        self.assertEqual({name: doc[name] for name in exported}, exported)

    def test_each_query_asks_for_its_own_metric(self):
        for name, (kind, _, query) in rows_of_doc().items():
            self.assertIn(name, query)
            for asked in re.findall(r"\b(?:mlpserve|nv|process)_\w+", query):
                known = rows_of_doc().get(asked) or rows_of_doc().get(re.sub(r"_(bucket|sum|count)$", "", asked))
                self.assertIsNotNone(known, asked)
            if kind != "gauge":
                self.assertRegex(query, r"rate\(|increase\(", f"{name} only grows")

    @unittest.skipUnless(shutil.which("promtool"), "promtool is not installed")
    def test_promtool_reads_the_queries(self):
        rules = "".join(f"    - record: a:{name}\n      expr: '{query}'\n"
                        for name, (_, _, query) in rows_of_doc().items())
        with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
            file.write(f"groups:\n- name: doc\n  rules:\n{rules}")
            file.flush()
            done = subprocess.run(["promtool", "check", "rules", file.name], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main()
