"""What a stranger may send as a ModelInferRequest, and the exact answer to each: code and message.

The server has the blocks "b" (x [rows, 4] FP32 -> y [rows, 2], two priority levels) and "h" (the
same in FP16). Every message is sent as the bytes that stand here.
"""

from wire import (BOOL, DOUBLE, INT64, STRING, UINT64, chunk, contents, fixed32, fixed64, number,
                  output, parameter, raw, request, shape, tag, tensor, varint)

INVALID, NOT_FOUND, OK = "INVALID_ARGUMENT", "NOT_FOUND", "OK"
NO_UTF8 = {"byte": b"\xff", "overlong": b"a\xc0\x80", "surrogate": b"\xed\xa0\x80",
           "cut": b"abc\xe2\x82", "beyond": b"\xf5\x80\x80\x80"}


def nested(path):
    """The messages around a field, by the numbers of their fields, the outermost first."""
    def wrap(payload):
        for field in reversed(path):
            payload = chunk(field, payload)
        return payload
    return wrap


# Every string of the message: its numbers from the top, and its name.
STRINGS = [((1,), "model_name"), ((2,), "model_version"), ((3,), "id"),
           ((4, 1), "parameters.key"), ((4, 2, 3), "parameters.value.string_param"),
           ((5, 1), "inputs.name"), ((5, 2), "inputs.datatype"), ((5, 4, 1), "inputs.parameters.key"),
           ((5, 4, 2, 3), "inputs.parameters.value.string_param"), ((6, 1), "outputs.name"),
           ((6, 2, 1), "outputs.parameters.key"),
           ((6, 2, 2, 3), "outputs.parameters.value.string_param")]
# Every other field that has a length.
CHUNKS = [((4,), "parameters"), ((4, 2), "parameters.value"), ((5,), "inputs"),
          ((5, 3), "inputs.shape"), ((5, 5), "inputs.contents"),
          ((5, 5, 1), "inputs.contents.bool_contents"), ((5, 5, 6), "inputs.contents.fp32_contents"),
          ((5, 5, 7), "inputs.contents.fp64_contents"),
          ((5, 5, 8), "inputs.contents.bytes_contents"), ((6,), "outputs"),
          ((7,), "raw_input_contents")]
PACKED = [((5, 5, n), f"inputs.contents.{name}") for n, name in
          [(1, "bool_contents"), (2, "int_contents"), (3, "int64_contents"), (4, "uint_contents"),
           (5, "uint64_contents")]] + [((5, 3), "inputs.shape")]


def malformed(why, where, at):
    place = f"in {where}, " if where else ""
    return INVALID, f"malformed ModelInferRequest: {why} ({place}near byte {at})"


def rows_of_strings():
    for path, name in STRINGS:
        for kind, text in NO_UTF8.items():
            message = nested(path)(text)
            yield f"{name} is no UTF-8: {kind}", message, *malformed("a string is not UTF-8", name,
                                                                       len(message))


def rows_of_lengths():
    for path, name in STRINGS + CHUNKS:
        inner = tag(path[-1], 2) + varint(100)
        message = nested(path[:-1])(inner)
        yield f"{name} is longer than its message", message, *malformed(
            "a field reaches past the end of its message", name, len(message))
        inner = tag(path[-1], 2) + b"\xff" * 5
        message = nested(path[:-1])(inner)
        yield f"{name} has a length of more than 5 bytes", message, *malformed(
            "a length is longer than 5 bytes", name, len(message))


def rows_of_varints():
    for path, name in PACKED:
        message = nested(path)(b"\xff" * 11)
        yield f"{name}: a varint of 11 bytes", message, *malformed(
            "a varint is longer than 10 bytes", name, len(message) - 1)
        message = nested(path)(b"\xff")
        yield f"{name}: a varint that does not end", message, *malformed(
            "a field reaches past the end of its message", name, len(message))


def rows_of_tags():
    past_the_end = "a field reaches past the end of its message"
    for name, message, why, where, at in [
        ("field 0", b"\x00\x00", "a field has number 0", "", 1),
        ("field 0 in an input", chunk(5, b"\x02\x00"), "a field has number 0", "inputs", 3),
        ("a tag of 6 bytes", b"\xff" * 6, "a tag is longer than 5 bytes", "", 5),
        ("a tag of 33 bits", b"\x8a\x80\x80\x80\x10\x01x", "a tag has more than 32 bits", "", 5),
        ("a tag of 35 bits", b"\x8a\x80\x80\x80\x40\x01x", "a tag has more than 32 bits", "", 5),
        ("a tag that does not end", b"\x8a", past_the_end, "", 1),
        ("wire type 6", tag(1, 6), "a field has an unknown wire type", "model_name", 1),
        ("wire type 7", tag(9, 7), "a field has an unknown wire type", "field 9", 1),
        ("a group ends that has not begun", tag(9, 4), "a group ends that has not begun",
         "field 9", 1),
        ("a group does not end", tag(9, 3), "a group does not end", "field 9", 1),
        ("a group ends as another", tag(9, 3) + tag(8, 4), "a group ends that has not begun",
         "field 9", 2),
        ("groups in groups", tag(9, 3) * 200, "nested too deeply", "field 9", 101),
        ("an unknown field is cut", tag(9, 2) + b"\x05ab", past_the_end, "field 9", 2),
        ("4 bytes are 3", tag(9, 5) + b"abc", past_the_end, "field 9", 1),
        ("8 bytes are 7", tag(9, 1) + b"abcdefg", past_the_end, "field 9", 1),
        ("a float is cut", chunk(5, chunk(5, tag(6, 5) + b"ab")), past_the_end,
         "inputs.contents.fp32_contents", 7),
        ("floats are cut", chunk(5, chunk(5, chunk(6, b"abcdef"))), past_the_end,
         "inputs.contents.fp32_contents", 12),
        ("doubles are cut", chunk(5, chunk(5, chunk(7, b"abcdefghi"))), past_the_end,
         "inputs.contents.fp64_contents", 15),
    ]:
        yield name, message, *malformed(why, where, at)


def rows_of_blocks():
    good = tensor() + raw()
    for name, message, code, text in [
        ("nothing", b"", NOT_FOUND, 'no block is named ""'),
        ("no block", good, NOT_FOUND, 'no block is named ""'),
        ("another block", request(good, model="c"), NOT_FOUND, 'no block is named "c"'),
        ("a name with quotes", request(good, model='"'), NOT_FOUND, 'no block is named """'),
        ("a name of 65 bytes", request(good, model="n" * 65), NOT_FOUND,
         f'no block is named "{"n" * 64}..." (65 bytes)'),
        ("a name cut between characters", request(good, model="n" * 63 + "éé"), NOT_FOUND,
         f'no block is named "{"n" * 63}..." (67 bytes)'),
        ("a name of a megabyte", request(good, model="n" * 1_000_000), NOT_FOUND,
         f'no block is named "{"n" * 64}..." (1000000 bytes)'),
        ("a version there is not", request(good, version="2"), NOT_FOUND,
         'block "b" has no version 2; it has: 1'),
        ("the largest version", request(good, version=str(2**63 - 1)), NOT_FOUND,
         f'block "b" has no version {2**63 - 1}; it has: 1'),
        *[(f"version {version!r}", request(good, version=version), INVALID,
           f'block "b": expected a positive integer as version, found "{version}"')
          for version in ("0", "-1", "01x", "1.0", " 1", "1 ", "latest", "+1", str(2**63))],
        ("a long version", request(good, version="9" * 100), INVALID,
         'block "b": expected a positive integer as version, found '
         f'"{"9" * 64}..." (100 bytes)'),
    ]:
        yield name, message, code, text


def rows_of_inputs():
    def wrong(text):
        return INVALID, f'block "b": {text}'
    shaped = 'input "x": expected shape [rows, 4] with 1 row or more, found '
    for name, parts, text in [
        ("no input", raw(), 'expected 1 input, "x", found 0'),
        ("two inputs", tensor() + tensor() + raw(), 'expected 1 input, "x", found 2'),
        ("an input without a name", tensor(name="") + raw(), 'expected input "x", found ""'),
        ("another input", tensor(name="z") + raw(), 'expected input "x", found "z"'),
        ("a long name", tensor(name="z" * 99) + raw(),
         f'expected input "x", found "{"z" * 64}..." (99 bytes)'),
        *[(f"datatype {kind!r}", tensor(datatype=kind) + raw(),
           f'input "x": expected datatype FP32, found "{kind}"')
          for kind in ("", "fp32", "FP16", "BF16", "FP64", "INT32", "BYTES", "FP32 ")],
        ("no shape", tensor(dims=()) + raw(), shaped + "[]"),
        ("one dimension", tensor(dims=(4,)) + raw(), shaped + "[4]"),
        ("three dimensions", tensor(dims=(1, 4, 1)) + raw(), shaped + "[1, 4, 1]"),
        ("ten dimensions", tensor(dims=(1,) * 10) + raw(),
         shaped + "[1, 1, 1, 1, 1, 1, 1, 1, ...]"),
        ("a million dimensions", tensor(dims=(1,) * 1_000_000) + raw(),
         shaped + "[1, 1, 1, 1, 1, 1, 1, 1, ...]"),
        ("no rows", tensor(dims=(0, 4)) + raw(0), shaped + "[0, 4]"),
        ("-1 rows", tensor(dims=(-1, 4)) + raw(), shaped + "[-1, 4]"),
        ("3 features", tensor(dims=(1, 3)) + raw(12), shaped + "[1, 3]"),
        ("2**32 + 4 features", tensor(dims=(1, 2**32 + 4)) + raw(), shaped + f"[1, {2**32 + 4}]"),
        ("the least number of rows", tensor(dims=(-2**63, 4)) + raw(), shaped + f"[{-2**63}, 4]"),
        ("65,537 rows", tensor(dims=(65537, 4)) + raw(65537 * 16),
         'input "x": expected at most 65536 rows (max_queued_rows, max_queued_bytes), found 65537'),
        ("2**63 - 1 rows", tensor(dims=(2**63 - 1, 4)) + raw(),
         'input "x": expected at most 65536 rows (max_queued_rows, max_queued_bytes), found '
         f"{2**63 - 1}"),
        ("neither raw nor typed", tensor(),
         'input "x": expected raw_input_contents or fp32_contents for shape [1, 4], found neither'),
        ("raw and typed", tensor(more=contents(6, bytes(16))) + raw(),
         'input "x": expected either contents or raw_input_contents, found both'),
        ("two raw entries", tensor() + raw() + raw(),
         'expected 1 entry of raw_input_contents, for input "x", found 2'),
        *[(f"{size} raw bytes", tensor() + raw(size),
           f'input "x": expected 16 bytes for shape [1, 4], found {size}')
          for size in (0, 1, 15, 17, 32, 100_000)],
        *[(f"{count} values", tensor(more=contents(6, bytes(4 * count))),
           f'input "x": expected 4 values for shape [1, 4], found {count}') for count in (0, 3, 5)],
        *[(kind, tensor(more=contents(field, payload)),
           f'input "x": expected fp32_contents, found {kind}')
          for field, kind, payload in [(1, "bool_contents", b"\1" * 4), (2, "int_contents", b"\1" * 4),
                                       (3, "int64_contents", b"\1" * 4),
                                       (4, "uint_contents", b"\1" * 4),
                                       (5, "uint64_contents", b"\1" * 4),
                                       (7, "fp64_contents", bytes(32)), (8, "bytes_contents", b"a")]],
        ("another output", tensor() + raw() + output("z"), 'expected output "y", found "z"'),
        ("an output without a name", tensor() + raw() + output(""), 'expected output "y", found ""'),
        ("the output twice", tensor() + raw() + output() + output(),
         'expected at most 1 output, "y", found 2'),
    ]:
        yield name, request(parts), *wrong(text)
    yield ("FP16 without raw bytes", request(tensor(datatype="FP16"), model="h"), INVALID,
           'block "h": input "x": expected raw_input_contents, as datatype FP16 has no typed '
           "contents, found none")
    yield ("FP16 with typed contents",
           request(tensor(datatype="FP16", more=contents(6, bytes(16))), model="h"), INVALID,
           'block "h": input "x": expected raw_input_contents, as datatype FP16 has no typed '
           "contents, found contents")


NOT_OFFERED = "found, but tensors are sent and answered as their values"
def off(kind):
    return (f"expected a server that was started with --shared-memory={kind}, found one that reads and writes no such "
            "memory of its clients")


def rows_of_parameters():
    values = {"bool": number(BOOL, 1), "string": chunk(STRING, "1"), "double": fixed64(DOUBLE, 0),
              "uint64": number(UINT64, 1), "no value": b""}
    for key in ("priority", "timeout"):
        expected = "int64 or uint64" if key == "priority" else "int64 (microseconds)"
        for kind, value in values.items():
            if key == "priority" and kind == "uint64":
                continue
            yield (f"{key} as {kind}",
                   request(tensor() + raw() + chunk(4, parameter(key, value))), INVALID,
                   f'block "b": parameter "{key}": expected {expected}, found {kind}')
        yield (f"{key} -1", request(tensor() + raw() + chunk(4, parameter(key, number(INT64, -1)))),
               INVALID, f'block "b": parameter "{key}": expected 0 or more, found -1')
    for value in (3, 2**63 - 1):
        yield (f"priority {value}",
               request(tensor() + raw() + chunk(4, parameter("priority", number(INT64, value)))),
               INVALID, 'block "b": parameter "priority": expected 0 to 2 (priority_levels), '
               f"found {value}")
    for key in ("sequence_id", "sequence_start", "sequence_end", "triton_request_priority",
                "triton_"):
        yield (f"parameter {key}",
               request(tensor() + raw() + chunk(4, parameter(key, number(INT64, 1)))), INVALID,
               f'block "b": parameter "{key}" is not supported: blocks keep no state and offer none '
               "of Triton's own extensions")
    key = "classification"
    extra = chunk(4, parameter(key, chunk(STRING, "region")))
    yield (f"input's parameter {key}", request(tensor(more=extra) + raw()), INVALID,
           f'block "b": input "x": parameter "{key}" {NOT_OFFERED}')
    extra = chunk(2, parameter(key, chunk(STRING, "region")))
    yield (f"output's parameter {key}", request(tensor() + raw() + output(more=extra)), INVALID,
           f'block "b": output "y": parameter "{key}" {NOT_OFFERED}')


def shared(field, size, region=chunk(STRING, "region"), offset=None):
    """A tensor's parameters, whose field is 4 for an input and 2 for an output."""
    offset = [] if offset is None else [("shared_memory_offset", number(INT64, offset))]
    return b"".join(chunk(field, parameter(key, value)) for key, value in [
        ("shared_memory_region", region), ("shared_memory_byte_size", number(INT64, size)), *offset])


def rows_of_shared_memory():
    """To a server that has none: what is wrong in itself is said first."""
    for what, field, needed, of, wrap in [
            ("input", 4, 16, 'block "b": input "x": ', lambda more: request(tensor(more=more))),
            ("output", 2, 8, 'block "b": output "y": ', lambda more: request(tensor() + raw() + output(more=more)))]:
        yield f"{what} in shared memory", wrap(shared(field, needed)), "FAILED_PRECONDITION", f'block "b": {off("system")}'
        for region, found in [(number(INT64, 1), "int64"), (b"", "no value"), (chunk(STRING, ""), "an empty one")]:
            yield (f"{what}'s region {found}", wrap(shared(field, needed, region)), INVALID,
                   f'{of}parameter "shared_memory_region": expected a name, found {found}')
        yield (f"{what}'s offset alone", wrap(chunk(field, parameter("shared_memory_offset", number(INT64, 1)))),
               INVALID, f'{of}parameter "shared_memory_region": expected a name, found absent')
        yield (f"{what}'s size -1", wrap(shared(field, -1)), INVALID,
               f'{of}parameter "shared_memory_byte_size": expected 0 or more, found -1')
        yield (f"{what}'s offset -2^63", wrap(shared(field, needed, offset=-2**63)), INVALID,
               f'{of}parameter "shared_memory_offset": expected 0 or more, found {-2**63}')
    yield ("an input's size of 2^63 - 1", request(tensor(more=shared(4, 2**63 - 1))), INVALID,
           'block "b": input "x": parameter "shared_memory_byte_size": expected 16 bytes for shape [1, 4], found '
           f"{2**63 - 1}")
    yield ("raw bytes beside shared memory", request(tensor(more=shared(4, 16)) + raw()), INVALID,
           'block "b": input "x": expected no values beside shared memory, found raw_input_contents')


def rows_that_are_welcome():
    """Strange, and right all the same: answered."""
    ok = (OK, "")
    yield "plain", request(tensor() + raw()), *ok
    yield "raw first", raw() + tensor() + chunk(1, "b"), *ok
    yield "the name twice, the last counts", request(tensor() + raw(), model="z") + chunk(1, "b"), *ok
    yield "unknown fields", request(tensor() + raw(), number(100, 1), chunk(101, b"?"),
                                    fixed32(102, 1), fixed64(103, 1)), *ok
    yield "an unknown group", request(tensor() + raw(), tag(99, 3) + tag(99, 4)), *ok
    yield "shape unpacked", request(chunk(5, chunk(1, "x") + chunk(2, "FP32") + number(3, 1) +
                                          number(3, 4)) + raw()), *ok
    yield "shape in two parts", request(chunk(5, chunk(1, "x") + chunk(2, "FP32") + shape(1) +
                                              shape(4)) + raw()), *ok
    yield "floats unpacked", request(tensor(more=chunk(5, fixed32(6, 0) * 4))), *ok
    yield "overlong varints", b"\x8a\x80\x00\x81\x00b" + tensor() + raw(), *ok
    yield "priority as uint64", request(tensor() + raw() + chunk(4, parameter(
        "priority", number(UINT64, 2)))), *ok
    yield "the longest timeout", request(tensor() + raw() + chunk(4, parameter(
        "timeout", number(INT64, 2**63 - 1)))), *ok
    yield "an unknown parameter", request(tensor() + raw() + chunk(4, parameter(
        "colour", chunk(STRING, "red")))), *ok
    yield "the C++ client's parameter", request(tensor() + raw() + chunk(4, parameter(
        "triton_enable_empty_final_response", number(BOOL, 1)))), *ok
    yield "the output by name", request(tensor() + raw() + output()), *ok
    yield "version 1", request(tensor() + raw(), version="1"), *ok
    yield "a long id", request(tensor() + raw(), chunk(3, "i" * 100_000)), *ok


def table():
    """(what it is, the bytes, the code, the message) of every row."""
    for rows in (rows_of_strings, rows_of_lengths, rows_of_varints, rows_of_tags, rows_of_blocks,
                 rows_of_inputs, rows_of_parameters, rows_of_shared_memory, rows_that_are_welcome):
        yield from rows()
