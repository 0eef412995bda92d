"""What a stranger may send to the other methods, and the exact answer to each: code and message.

Beside the blocks of hostile_requests.py there is "broken", whose model.json cannot be read. "{repository}"
in a message is the model repository's folder. Every message is sent as the bytes that stand here.
"""

from hostile_requests import off
from wire import (BOOL, INT64, STRING, chunk, number, output, parameter, raw, request, tag, tensor,
                  varint)

INVALID, NOT_FOUND, OK = "INVALID_ARGUMENT", "NOT_FOUND", "OK"
UNIMPLEMENTED, UNAVAILABLE, REFUSED = "UNIMPLEMENTED", "UNAVAILABLE", "FAILED_PRECONDITION"
INFERENCE = "/inference.GRPCInferenceService/"
CHECK = "/grpc.health.v1.Health/Check"
LOAD, UNLOAD = INFERENCE + "RepositoryModelLoad", INFERENCE + "RepositoryModelUnload"
TRACE, LOG = INFERENCE + "TraceSetting", INFERENCE + "LogSettings"
INDEX = INFERENCE + "RepositoryIndex"
NAMED = ["ModelReady", "ModelMetadata", "ModelConfig", "ModelStatistics"]
BROKEN = ("{repository}/broken/model.json: parse error at line 1, column 2: syntax error while parsing "
          "object key - unexpected end of input; expected string literal")

# Every string of their messages: the method, the numbers of the fields from the top, and its name.
STRINGS = [*[(INFERENCE + method, path, name) for method in NAMED
             for path, name in [((1,), "name"), ((2,), "version")]],
           (INDEX, (1,), "repository_name"),
           *[(method, path, name) for method in (LOAD, UNLOAD) for path, name in [
               ((1,), "repository_name"), ((2,), "model_name"), ((3, 1), "parameters.key"),
               ((3, 2, 3), "parameters.value.string_param")]],
           (TRACE, (1, 1), "settings.key"), (TRACE, (1, 2, 1), "settings.value.value"),
           (TRACE, (2,), "model_name"), (LOG, (1, 1), "settings.key"),
           (LOG, (1, 2, 3), "settings.value.string_param"), (CHECK, (1,), "service")]


def type_of(method):
    name = method.rsplit("/", 1)[1]
    return "HealthCheckRequest" if method == CHECK else f"{name}Request"


def malformed(method, why, where, at):
    place = f"in {where}, " if where else ""
    return INVALID, f"malformed {type_of(method)}: {why} ({place}near byte {at})"


def nested(path, payload):
    for field in reversed(path):
        payload = chunk(field, payload)
    return payload


def rows_of_bytes():
    for method, path, name in STRINGS:
        message = nested(path, b"a\xff")
        yield f"{name} is no UTF-8", method, message, *malformed(
            method, "a string is not UTF-8", name, len(message))
        message = nested(path[:-1], tag(path[-1], 2) + varint(100))
        yield f"{name} is longer than its message", method, message, *malformed(
            method, "a field reaches past the end of its message", name, len(message))
    everywhere = [INFERENCE + name for name in ("ServerLive", "ServerReady", "ServerMetadata")] + [
        LOAD, CHECK]
    for method in everywhere:
        for name, message, why, where, at in [
            ("field 0", b"\x00\x00", "a field has number 0", "", 1),
            ("a tag of 33 bits", b"\x8a\x80\x80\x80\x10\x01x", "a tag has more than 32 bits", "", 5),
            ("wire type 7", tag(9, 7), "a field has an unknown wire type", "field 9", 1),
            ("a group does not end", tag(9, 3), "a group does not end", "field 9", 1),
            ("a varint of 11 bytes", tag(9, 0) + b"\xff" * 10, "a varint is longer than 10 bytes",
             "field 9", 11)]:
            yield name, method, message, *malformed(method, why, where, at)


def rows_of_names():
    for name in NAMED:
        method = INFERENCE + name
        for version in ("0", "-1", "one", str(2**63)):
            yield (f"version {version!r}", method, chunk(1, "b") + chunk(2, version), INVALID,
                   f'block "b": expected a positive integer as version, found "{version}"')
        if name == "ModelReady":  # whose clients ask until it is there
            for what, message in [("no name", b""), ("another block", chunk(1, "c")),
                                  ("a version there is not", chunk(1, "b") + chunk(2, "2")),
                                  ("a block that failed", chunk(1, "broken"))]:
                yield what, method, message, OK, ""
            continue
        yield "another block", method, chunk(1, "c"), NOT_FOUND, 'no block is named "c"'
        yield ("a long name", method, chunk(1, "n" * 1000), NOT_FOUND,
               f'no block is named "{"n" * 64}..." (1000 bytes)')
        yield ("a version there is not", method, chunk(1, "b") + chunk(2, "2"), NOT_FOUND,
               'block "b" has no version 2; it has: 1')
        yield ("a block that failed", method, chunk(1, "broken"), UNAVAILABLE,
               f'block "broken" is UNAVAILABLE: {BROKEN}')
        if name != "ModelStatistics":  # of every block
            yield "no name", method, b"", NOT_FOUND, 'no block is named ""'
        yield "the name as a number", method, number(1, 7) + chunk(1, "b"), OK, ""
        yield "unknown fields", method, chunk(1, "b") + chunk(9, b"\xff") + number(10, 1), OK, ""
    yield "another repository", INDEX, chunk(1, "nowhere"), OK, ""
    yield "ready as a string", INDEX, chunk(2, "yes"), OK, ""


def control(name, *parameters):
    return chunk(2, name) + b"".join(chunk(3, chunk(1, key) + chunk(2, value))
                                     for key, value in parameters)


def rows_of_control():
    """To a server whose clients may load and unload; every one leaves what serves."""
    bytes_param = 4
    config, file = ("config", chunk(STRING, "{}")), chunk(bytes_param, b"x")
    expected = 'expected "config" (string, the text of a model.json) or "file:VERSION/weights.safetensors" (bytes)'
    for what, message, code, text in [
        ("no name", b"", INVALID, "expected a model_name, found none"),
        ("another block", control("c"), NOT_FOUND,
         'no block "c" in {repository}: there is nothing of that name'),
        ("a path upward", control("../b"), NOT_FOUND,
         'no block "../b" in {repository}: its name begins with a dot'),
        ("an absolute path", control("/etc"), NOT_FOUND,
         'no block "/etc" in {repository}: its name holds a slash'),
        ("a path into a block", control("b/1"), NOT_FOUND,
         'no block "b/1" in {repository}: its name holds a slash'),
        ("a name with a zero", control("b\0c"), NOT_FOUND,
         'no block "b\\x00c" in {repository}: its name holds control characters or is not UTF-8'),
        ("a long name", control("n" * 1000), NOT_FOUND,
         f'no block "{"n" * 64}..." (1000 bytes) in {{repository}}: its name is longer than 255 bytes'),
        ("a block that cannot be read", control("broken"), INVALID, BROKEN),
        ("config as a number", control("b", ("config", number(INT64, 1))), INVALID,
         f'parameter "config" (int64): {expected}'),
        ("config as bytes", control("b", ("config", chunk(bytes_param, "{}"))), INVALID,
         f'parameter "config" (bytes): {expected}'),
        ("config without a value", control("b", ("config", b"")), INVALID,
         f'parameter "config" (no value): {expected}'),
        ("a file as a string", control("b", ("file:1/weights.safetensors", chunk(STRING, "x"))), INVALID,
         f'parameter "file:1/weights.safetensors" (string): {expected}'),
        ("an unknown parameter", control("b", ("colour", chunk(STRING, "red"))), INVALID,
         f'parameter "colour" (string): {expected}'),
        ("a long parameter", control("b", ("c" * 99, number(BOOL, 1))), INVALID,
         f'parameter "{"c" * 64}..." (99 bytes) (bool): {expected}'),
        ("a file without config", control("b", ("file:1/weights.safetensors", file)), INVALID,
         'expected the parameter "config" beside the files that are sent, found none'),
        *[(f"the file {path!r}", control("b", config, (f"file:{path}", file)), INVALID,
           f'parameter "file:{path}": expected the path VERSION/weights.safetensors')
          for path in ("", "../x", "1/../../x", "/etc/passwd", "1/other", "01/weights.safetensors",
                       "1/weights.safetensors/", "weights.safetensors")],
        ("a config that is no JSON", control("b", ("config", chunk(STRING, "{"))), INVALID,
         'parameter "config": parse error at line 1, column 2: syntax error while parsing object key '
         "- unexpected end of input; expected string literal"),
        ("a config of another name", control("b", ("config", chunk(STRING, '{"name": "c"}'))), INVALID,
         'parameter "config": name: expected that of the folder, "b", found "c"'),
    ]:
        yield f"load: {what}", LOAD, message, code, text
    only = 'expected none but "unload_dependents" (bool)'
    for what, message, code, text in [
        ("no name", b"", INVALID, "expected a model_name, found none"),
        ("another block", control("c"), NOT_FOUND, 'no block is named "c"'),
        ("a name with a zero", control("b\0c"), NOT_FOUND, 'no block is named "b\\x00c"'),
        ("a long name", control("n" * 1000), NOT_FOUND,
         f'no block is named "{"n" * 64}..." (1000 bytes)'),
        ("unload_dependents as a string", control("b", ("unload_dependents", chunk(STRING, "yes"))), INVALID,
         f'parameter "unload_dependents" (string): {only}'),
        ("an unknown parameter", control("b", ("colour", chunk(STRING, "red"))), INVALID,
         f'parameter "colour" (string): {only}'),
    ]:
        yield f"unload: {what}", UNLOAD, message, code, text


def rows_of_refused_control():
    """To a server whose clients may not."""
    text = ("expected a server that was started with --model-control=explicit, found one that loads and "
            "unloads no block at a client's wish")
    for method in (LOAD, UNLOAD):
        for what, message in [("a block", control("b")), ("no name", b"")]:
            yield what, method, message, REFUSED, text


def trace(name, *values):
    return chunk(1, chunk(1, name) + chunk(2, b"".join(chunk(1, value) for value in values)))


def log(name, value=b""):
    return chunk(1, chunk(1, name) + chunk(2, value))


def rows_of_settings():
    known = "log_frequency, trace_count, trace_file, trace_level, trace_mode or trace_rate"
    for what, message, code, text in [
        ("of another block", chunk(2, "c"), NOT_FOUND, 'no block is named "c"'),
        ("of a long name", chunk(2, "n" * 70), NOT_FOUND,
         f'no block is named "{"n" * 64}..." (70 bytes)'),
        ("another", trace("colour", "x"), INVALID, f'expected the trace setting {known}, found "colour"'),
        ("without a name", trace("", "x"), INVALID, f'expected the trace setting {known}, found ""'),
        *[(f"{name} {values}", trace(name, *values), UNIMPLEMENTED,
           f'trace setting {name}: expected "{fixed}", as this server traces nothing, found '
           f'"{",".join(values)}"')
          for name, fixed, values in [
              ("trace_level", "OFF", ("TIMESTAMPS",)), ("trace_level", "OFF", ("OFF", "TENSORS")),
              ("trace_file", "", ("/etc/passwd",)), ("trace_rate", "1000", ("1",)),
              ("trace_count", "-1", ("5",)), ("log_frequency", "0", ("x",)),
              ("trace_mode", "triton", ("opentelemetry",))]],
        ("as it is", trace("trace_level", "OFF"), OK, ""),
        ("reset", trace("trace_rate"), OK, ""),
    ]:
        yield f"trace setting: {what}", TRACE, message, code, text
    known = "log_error, log_file, log_format, log_info, log_verbose_level or log_warning"
    kinds = {"bool": number(1, 1), "uint32": number(2, 1), "string": chunk(3, "1"), "no value": b""}
    for name, expected in [("log_info", "bool"), ("log_warning", "bool"), ("log_error", "bool"),
                           ("log_verbose_level", "uint32"), ("log_file", "string"),
                           ("log_format", "string")]:
        for kind, value in kinds.items():
            if kind != expected:
                yield (f"log setting: {name} as {kind}", LOG, log(name, value), INVALID,
                       f"log setting {name}: expected {expected}, found {kind}")
    for what, message, code, text in [
        ("another", log("colour", chunk(3, "red")), INVALID, f'expected the log setting {known}, found "colour"'),
        ("without a name", log(""), INVALID, f'expected the log setting {known}, found ""'),
        ("a long name", log("l" * 99), INVALID,
         f'expected the log setting {known}, found "{"l" * 64}..." (99 bytes)'),
        ("a file", log("log_file", chunk(3, "/etc/passwd")), UNIMPLEMENTED,
         'log setting log_file: expected "", as it is fixed when the server starts, found "/etc/passwd"'),
        ("a format", log("log_format", chunk(3, "ISO8601")), UNIMPLEMENTED,
         'log setting log_format: expected "default", as it is fixed when the server starts, found "ISO8601"'),
        ("one right and one wrong", log("log_info", number(1, 0)) + log("colour"), INVALID,
         f'expected the log setting {known}, found "colour"'),
    ]:
        yield f"log setting: {what}", LOG, message, code, text


def rows_of_shared_memory():
    for kind in ("System", "Cuda"):
        for what in ("Status", "Register", "Unregister"):
            yield (f"{kind} {what}", f"{INFERENCE}{kind}SharedMemory{what}", chunk(1, "r"), REFUSED,
                   off(kind.lower()))


def rows_of_other_services():
    services = 'expected the service "" or "inference.GRPCInferenceService", found '
    yield "another service", CHECK, chunk(1, "inference"), NOT_FOUND, services + '"inference"'
    yield ("a long service", CHECK, chunk(1, "s" * 500), NOT_FOUND,
           services + f'"{"s" * 64}..." (500 bytes)')
    for method in ("/", "//", "/inference.GRPCInferenceService/Nothing",
                   "/inference.GRPCInferenceService/modelinfer",
                   "/inference.GRPCInferenceService/SharedMemoryStatus", "/grpc.health.v1.Health/List",
                   "/inference.GRPCInferenceService", "/..", "/a b"):
        yield ("a method there is not", method, b"", UNIMPLEMENTED,
               f'this server does not offer the method "{method}"')
    yield ("a long method", "/" + "m" * 100, b"", UNIMPLEMENTED,
           f'this server does not offer the method "/{"m" * 63}..." (101 bytes)')


def table():
    """(what it is, the method, the bytes, the code, the message) of every row."""
    for rows in (rows_of_bytes, rows_of_names, rows_of_refused_control, rows_of_settings,
                 rows_of_shared_memory, rows_of_other_services):
        for what, *row in rows():
            yield (f"{row[0].rsplit('/', 1)[1]}: {what}", *row)


GOOD = request(tensor() + raw())


def streams():
    """(what it is, the message, the id, the code, the message) of requests inside a stream, which goes on."""
    yield "nothing", b"", "", 5, 'no block is named ""'
    yield "no message", b"\xff", "", 3, ("malformed ModelInferRequest: a field reaches past the end of its "
                                         "message (near byte 1)")
    for what, message, code, text in [
        ("another block", request(tensor() + raw(), chunk(3, "i1"), model="c"), 5, 'no block is named "c"'),
        ("3 raw bytes", request(tensor() + raw(3), chunk(3, "i1")), 3,
         'block "b": input "x": expected 16 bytes for shape [1, 4], found 3'),
        ("no rows", request(tensor(dims=(0, 4)) + raw(0), chunk(3, "i1")), 3,
         'block "b": input "x": expected shape [rows, 4] with 1 row or more, found [0, 4]'),
        ("a sequence", request(tensor() + raw(), chunk(3, "i1"),
                               chunk(4, parameter("sequence_id", number(INT64, 5)))), 3,
         'block "b": parameter "sequence_id" is not supported: blocks keep no state and offer none of '
         "Triton's own extensions"),
        ("the output twice", request(tensor() + raw(), chunk(3, "i1"), output(), output()), 3,
         'block "b": expected at most 1 output, "y", found 2'),
        ("a version there is not", request(tensor() + raw(), chunk(3, "i1"), version="7"), 5,
         'block "b" has no version 7; it has: 1'),
        ("raw and typed", request(tensor(more=chunk(5, chunk(6, bytes(16)))) + raw(), chunk(3, "i1")), 3,
         'block "b": input "x": expected either contents or raw_input_contents, found both'),
    ]:
        yield what, message, "i1", code, text
