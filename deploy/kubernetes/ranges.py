"""What render refuses beyond the API's schemas, which know a field's type but hardly ever its range: each in one sentence
that names the object, the field, what was expected and what was found."""

import re

# Ranges of whole numbers, by the field's name wherever it stands.
NUMBERS = {
    "replicas": (0, 1000), "minReplicas": (0, 1000), "maxReplicas": (1, 1000),
    "containerPort": (1, 65535), "port": (1, 65535), "targetPort": (1, 65535),
    "initialDelaySeconds": (0, 3600), "periodSeconds": (1, 3600), "timeoutSeconds": (1, 3600),
    "successThreshold": (1, 1000), "failureThreshold": (1, 10000), "stabilizationWindowSeconds": (0, 3600),
    "terminationGracePeriodSeconds": (1, 3600), "runAsUser": (1, 2147483647), "runAsGroup": (1, 2147483647),
}
PORTS = {"port", "targetPort"}  # these may also be the name of a container's port
SHARES = {"maxSurge", "maxUnavailable", "minAvailable"}  # a number of pods or a percentage of them
QUANTITIES = {"storage", "sizeLimit", "averageValue", "cpu", "memory", "ephemeral-storage", "nvidia.com/gpu"}
DURATIONS = {"interval", "scrapeTimeout"}
WORDS = {"accessModes": ("ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod")}

QUANTITY = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(|[numkMGTPE]|[KMGTPE]i|[eE][+-]?\d+)")
FACTORS = {"n": 1e-9, "u": 1e-6, "m": 1e-3, "": 1.0,
           **{unit: 1000.0**power for power, unit in enumerate("kMGTPE", 1)},
           **{f"{unit}i": 1024.0**power for power, unit in enumerate("KMGTPE", 1)}}

# The server's flags, as `mlpserve --help` has them: (least, most), the words, a pattern, or None for any value.
SWITCHES = {"--strict-readiness", "--allow-non-finite", "--open-health", "--help", "--version"}
ADDRESS = re.compile(r"unix:.+|.+:(\d+)")
FLAGS = {
    "--model-repository": None, "--kernel-cache": None, "--load-model": None, "--tls-certificate": None,
    "--tls-key": None, "--tls-client-ca": None, "--token-file": None,
    "--grpc-address": ADDRESS, "--http-address": ADDRESS,
    "--backend": ("auto", "cpu", "cuda"), "--model-control": ("explicit", "none", "poll"),
    "--grpc-compression": ("deflate", "gzip", "none"), "--shared-memory": ("all", "cuda", "off", "system"),
    "--log-format": ("json", "text"), "--log-level": ("trace", "debug", "info", "warning", "error", "off"),
    "--cpu-threads": (0, 1024), "--max-message-bytes": (0, 2147483647), "--max-connections": (1, 1000000),
    "--max-connections-per-address": (0, 1000000), "--memory-quota-bytes": (0, 1125899906842624),
    "--unread-timeout": (0.1, 3600), "--drain-grace": (0, 3600), "--drain-timeout": (0, 3600),
    "--poll-interval": (0.01, 3600),
}
WHOLE = {"--cpu-threads", "--max-message-bytes", "--max-connections", "--max-connections-per-address",
         "--memory-quota-bytes"}
IMAGE_FLAGS = ["--grpc-address", "0.0.0.0:8001", "--http-address", "0.0.0.0:8002"]  # of the Dockerfile's ENTRYPOINT


def refuse(message):
    raise ValueError(message)


def number(value, what, low, high, whole=False):
    try:
        found = None if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        found = None
    if found is None or not low <= found <= high or (whole and found != int(found)):
        refuse(f"{what}: expected {low} to {high}, found {value}")
    return found


def quantity(value, what):
    """In units, bytes or processors."""
    found = QUANTITY.fullmatch(str(value))
    amount = None if found is None else float(found[1]) * (FACTORS[found[2]] if found[2] in FACTORS
                                                           else float("1" + found[2]))
    if not amount:
        refuse(f"{what}: expected a quantity above 0 such as 2, 500m or 4Gi, found {value}")
    return amount


# -- fields by their names

def check_fields(node, what, port_names):
    if isinstance(node, list):
        for index, inner in enumerate(node):
            check_fields(inner, f"{what}[{index}]", port_names)
    elif isinstance(node, dict):
        for key, value in node.items():
            check_field(key, value, f"{what}.{key}", port_names)


def check_field(key, value, what, port_names):
    if isinstance(value, dict) or isinstance(value, list) and key not in WORDS:
        check_fields(value, what, port_names)
    elif key in PORTS and isinstance(value, str) and not value.isdigit():
        if port_names and value not in port_names:
            refuse(f"{what}: expected a container's port ({', '.join(sorted(port_names))}), found {value}")
    elif key in NUMBERS:
        number(value, what, *NUMBERS[key], whole=True)
    elif key in SHARES:
        check_share(str(value), what)
    elif key in QUANTITIES:
        quantity(value, what)
    elif key in DURATIONS and not re.fullmatch(r"([1-9]\d*(ms|[smh]))+", str(value)):
        refuse(f"{what}: expected a duration such as 15s, found {value}")
    elif key in WORDS:
        for word in value:
            if word not in WORDS[key]:
                refuse(f"{what}: expected {' or '.join(WORDS[key])}, found {word}")


def check_share(value, what):
    if value.endswith("%"):
        if not re.fullmatch(r"100%|\d\d?%", value):
            refuse(f"{what}: expected 0% to 100%, found {value}")
    else:
        number(value, what, 0, 1000, whole=True)


# -- the server's container

def flags_of(args, what):
    """name: its last value, as `--name value` or `--name=value`; a switch's value is None."""
    found, rest = {}, list(map(str, args))
    while rest:
        name, equals, value = rest.pop(0).partition("=")
        if name in SWITCHES:
            found[name] = None
            continue
        if name not in FLAGS:
            refuse(f"{what}: expected flags of mlpserve, found {name}")
        if not equals:
            value = rest.pop(0) if rest else refuse(f"{what}: expected a value after {name}")
        check_flag(name, value, f"{what}: {name}")
        found[name] = value
    return found


def check_flag(name, value, what):
    allowed = FLAGS[name]
    if allowed is ADDRESS:
        address = ADDRESS.fullmatch(value) or refuse(f"{what}: expected host:port or unix:path, found {value}")
        if address[1]:
            number(address[1], what, 1, 65535)
    elif allowed and isinstance(allowed[0], str):
        if value not in allowed:
            refuse(f"{what}: expected {', '.join(allowed[:-1])} or {allowed[-1]}, found {value}")
    elif allowed:
        number(value, what, *allowed, whole=name in WHOLE)


def check_server(pod, what):
    grace = number(pod.get("terminationGracePeriodSeconds", 30), f"{what}: terminationGracePeriodSeconds", 1, 3600)
    for container in pod["containers"]:
        check_resources(container, f"{what}: {container['name']}")
        if container["name"] in ("mlpserve", "kserve-container"):
            check_container(container, what, grace)


def check_resources(container, what):
    resources = container.get("resources", {})
    limits, requests = resources.get("limits", {}), resources.get("requests", {})
    for name in requests.keys() & limits.keys():
        if quantity(requests[name], what) > quantity(limits[name], what):
            refuse(f"{what}: requests.{name}: expected at most the limit, {limits[name]}, found {requests[name]}")


def check_container(container, what, grace):
    own = [] if container.get("command") else IMAGE_FLAGS
    flags = flags_of([*own, *container.get("args", [])], what)
    drain = float(flags.get("--drain-grace", 5))
    if drain + 5 > grace:
        refuse(f"{what}: --drain-grace {drain:g} s and 5 s for the requests in flight must fit in "
               f"terminationGracePeriodSeconds, found {grace:g}")
    addresses = [flags.get("--grpc-address", "127.0.0.1:8001"), flags.get("--http-address", "127.0.0.1:8002")]
    listens = {int(address.rpartition(":")[2]) for address in addresses if not address.startswith("unix:")}
    for port in container.get("ports", []):
        if port["containerPort"] not in listens:
            refuse(f"{what}: containerPort: expected one that the server listens on "
                   f"({', '.join(map(str, sorted(listens)))}), found {port['containerPort']}")
    gpus = container.get("resources", {}).get("limits", {}).get("nvidia.com/gpu")
    if flags.get("--backend") == "cuda" and str(gpus) != "1":
        refuse(f"{what}: limits.nvidia.com/gpu: expected 1, which is what --backend cuda uses, found {gpus}")


# -- what render calls

def pod_of(item):
    spec = item.get("spec", {})
    return spec if item["kind"] == "ServingRuntime" else spec.get("template", {}).get("spec", {})


def check_all(items):
    port_names = {port["name"] for item in items for container in pod_of(item).get("containers", [])
                  for port in container.get("ports", []) if "name" in port}
    for item in items:
        spec, what = item.get("spec", {}), f"{item['kind']} {item['metadata']['name']}"
        check_fields(spec, f"{what}: spec", port_names)
        if pod_of(item).get("containers"):
            check_server(pod_of(item), what)
        if item["kind"] in ("HorizontalPodAutoscaler", "InferenceService"):
            bounds = spec.get("predictor", spec)
            low = int(bounds.get("minReplicas", 1))
            if item["kind"] == "HorizontalPodAutoscaler":
                number(low, f"{what}: minReplicas", 1, 1000)
            number(bounds.get("maxReplicas", 1000), f"{what}: maxReplicas", max(low, 1), 1000)
        rolling = spec.get("strategy", {}).get("rollingUpdate", {})
        if rolling and not any(str(rolling.get(key, "25%")).strip("0%") for key in ("maxSurge", "maxUnavailable")):
            refuse(f"{what}: rollingUpdate: expected maxSurge or maxUnavailable above 0, found both 0")
