"""The include check passes on the project and bites on the deliberately bad files in bad/."""

import pathlib
import unittest

import includes

HERE = pathlib.Path(__file__).resolve().parent


class IncludesTest(unittest.TestCase):
    def test_every_include_of_the_project_points_down(self):
        self.assertEqual(includes.check(HERE.parent.parent), [])

    def test_each_bad_include_is_found(self):
        found = includes.check(HERE / "bad")
        for path, target in [
            ("kernels/spec/upward.h", "google/protobuf/message.h"),
            ("kernels/spec/upward.h", "server/vocabulary/request.h"),
            ("server/batching/upward.h", "grpcpp/grpcpp.h"),
            ("server/batching/upward.h", "server/engine/backend.h"),
            ("server/transport/upward.h", "cuda_runtime.h"),
            ("server/transport/upward.h", "server/engine/backend.h"),
        ]:
            self.assertTrue(any(path in line and target in line for line in found), (path, target))
        self.assertEqual(len(found), 6)


if __name__ == "__main__":
    unittest.main()
