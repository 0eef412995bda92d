"""The Kubernetes manifests: rendered by kubectl, held to the API's schemas, and the promises that they must keep."""

import os
import pathlib
import re
import shutil
import subprocess
import sys

import jsonschema
import kubernetes_validate  # render skips the schemas where it is missing: here it must not be
import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
KUBERNETES = ROOT / "deploy/kubernetes"
OVERLAYS = ["cpu", "gpu", "autoscaled", "kserve"]


# This machine's kubectl, else the one that PyPI installs beside Python: Debian 12's knows an older Kustomize.
ENVIRONMENT = {**os.environ, "PATH": f"{os.environ['PATH']}:{pathlib.Path(sys.executable).parent}"}


def render(name, folder=KUBERNETES):
    done = subprocess.run([sys.executable, folder / "render", name], capture_output=True, text=True, timeout=60,
                          env=ENVIRONMENT)
    return done.returncode, done.stdout, done.stderr


def rendered(name):
    code, text, error = render(name)
    assert code == 0, error
    return list(yaml.safe_load_all(text))


def one(items, kind):
    (found,) = [item for item in items if item["kind"] == kind]
    return found


@pytest.mark.parametrize("name", OVERLAYS)
def test_overlay_renders(name):
    assert rendered(name)


@pytest.mark.parametrize("name", ["cpu", "gpu", "autoscaled"])
def test_pods_are_probed_confined_bounded_and_watched(name):
    items = rendered(name)
    kinds = {item["kind"] for item in items}
    assert {"Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy", "PodMonitor",
            "PersistentVolumeClaim"} <= kinds
    pod = one(items, "Deployment")["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    assert container["readinessProbe"]["grpc"] == container["startupProbe"]["grpc"] == {"port": 8001}
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert pod["spec"]["securityContext"]["runAsNonRoot"]
    security = container["securityContext"]
    assert security["readOnlyRootFilesystem"] and not security["allowPrivilegeEscalation"]
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert container["resources"]["limits"]["memory"] and container["resources"]["requests"]["cpu"]
    assert ("nvidia.com/gpu" in container["resources"]["limits"]) == (name == "gpu")
    # Selectors meet the pods' labels and the ports' names.
    labels = pod["metadata"]["labels"].items()
    for item in items:
        if item["kind"] == "Service":
            assert item["spec"]["selector"].items() <= labels
            assert {port["targetPort"] for port in item["spec"]["ports"]} <= {port["name"] for port in container["ports"]}
        elif item["kind"] in ("PodDisruptionBudget", "PodMonitor"):
            assert item["spec"]["selector"]["matchLabels"].items() <= labels
        elif item["kind"] == "NetworkPolicy":
            assert item["spec"]["podSelector"]["matchLabels"].items() <= labels
    assert any(item["spec"].get("clusterIP") == "None" for item in items if item["kind"] == "Service")
    assert ("HorizontalPodAutoscaler" in kinds) == (name == "autoscaled")
    assert ("replicas" in one(items, "Deployment")["spec"]) == (name != "autoscaled")


def test_autoscaler_asks_for_what_the_adapter_makes():
    asked = {metric["pods"]["metric"]["name"] for metric in
             one(rendered("autoscaled"), "HorizontalPodAutoscaler")["spec"]["metrics"]}
    rules = yaml.safe_load((KUBERNETES / "overlays/autoscaled/prometheus-adapter.yaml").read_text())["rules"]["custom"]
    assert asked == {rule["name"]["as"] for rule in rules}


def admitted(policy, namespace, labels):
    """The ports, by name, that a pod of a namespace reaches; the policy's own namespace is `serving`."""
    ports = set()
    for rule in policy["spec"]["ingress"]:
        for peer in rule["from"]:
            wanted = peer.get("namespaceSelector", {}).get("matchLabels")
            here = namespace == "serving" if wanted is None else \
                wanted.items() <= {"kubernetes.io/metadata.name": namespace}.items()
            if here and peer.get("podSelector", {}).get("matchLabels", {}).items() <= labels.items():
                ports |= {port["port"] for port in rule["ports"]}
    return ports


def test_network_policy_admits_prometheus_and_clients_and_nobody_else():
    items = rendered("cpu")
    policy = one(items, "NetworkPolicy")
    (scraped,) = one(items, "PodMonitor")["spec"]["podMetricsEndpoints"]
    assert admitted(policy, "monitoring", {"app": "prometheus"}) == {scraped["port"]}
    assert admitted(policy, "serving", {"app": "anyone"}) == {"grpc"}
    assert admitted(policy, "elsewhere", {"app": "anyone"}) == set()
    # Probes come from the node, which no policy keeps out: what they ask must be there.
    (container,) = one(items, "Deployment")["spec"]["template"]["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert container["readinessProbe"]["grpc"]["port"] == ports["grpc"]
    assert container["livenessProbe"]["httpGet"]["port"] in ports


def test_inference_service_uses_the_runtime():
    items = rendered("kserve")
    runtime, service = one(items, "ServingRuntime"), one(items, "InferenceService")
    model = service["spec"]["predictor"]["model"]
    assert model["runtime"] == runtime["metadata"]["name"]
    assert model["modelFormat"]["name"] in [known["name"] for known in runtime["spec"]["supportedModelFormats"]]
    assert model["protocolVersion"] in runtime["spec"]["protocolVersions"]
    assert runtime["spec"]["containers"][0]["name"] == "kserve-container"


CUSTOM = yaml.safe_load((ROOT / "tests/deploy/custom_resources.yml").read_text())


def check_custom(item):
    jsonschema.validate(item, CUSTOM[item["kind"]])
    if item["kind"] == "ServingRuntime":
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "any"},
               "spec": {"containers": item["spec"]["containers"]}}
        kubernetes_validate.validate(pod, kubernetes_validate.latest_version(), strict=True)


def custom(kind):
    return one([item for name in OVERLAYS for item in rendered(name) if item["kind"] == kind][:1], kind)


@pytest.mark.parametrize("name", OVERLAYS)
def test_custom_resources_say_only_what_their_definitions_have(name):
    known = [item for item in rendered(name) if item["kind"] in CUSTOM]
    assert known
    for item in known:
        check_custom(item)


@pytest.mark.parametrize("kind, place, wrong", [
    ("PodMonitor", ("spec", "podMetricsEndpoints", 0), {"intervall": "15s"}),
    ("PodMonitor", ("spec", "podMetricsEndpoints", 0), {"interval": "often"}),
    ("ServingRuntime", ("spec",), {"protocolVersion": ["grpc-v2"]}),
    ("ServingRuntime", ("spec", "supportedModelFormats", 0), {"version": 1}),
    ("ServingRuntime", ("spec", "containers", 0), {"resource": {}}),
    ("InferenceService", ("spec", "predictor", "model"), {"storageURI": "pvc://models"}),
    ("InferenceService", ("spec", "predictor"), {"minReplicas": "1"}),
])
def test_custom_resource_with_an_unknown_field_or_a_wrong_type_is_refused(kind, place, wrong):
    item = custom(kind)
    inside = item
    for step in place:
        inside = inside[step]
    inside.update(wrong)
    with pytest.raises((jsonschema.ValidationError, kubernetes_validate.ValidationError)):
        check_custom(item)


DEPLOYMENT, CPU, GPU = "base/deployment.yaml", "overlays/cpu/kustomization.yaml", "overlays/gpu/kustomization.yaml"
HPA, KSERVE = "overlays/autoscaled/autoscaler.yaml", "kserve/inferenceservice.yaml"


@pytest.mark.parametrize("overlay, file, old, new, says", [
    ("gpu", DEPLOYMENT, '"--drain-grace", "10"', '"--drain-grace", "60"',
     ["--drain-grace 60", "terminationGracePeriodSeconds", "45"]),
    ("gpu", DEPLOYMENT, '"--drain-grace", "10"', '"--drain-grace", "nan"', ["--drain-grace", "0 to 3600", "nan"]),
    ("cpu", DEPLOYMENT, '"--log-format", "json"', '"--log-format", "xml"', ["--log-format", "json or text", "xml"]),
    ("cpu", DEPLOYMENT, "--log-format", "--log-fromat", ["flags of mlpserve", "--log-fromat"]),
    ("cpu", CPU, 'value: "2"', 'value: "2000"', ["--cpu-threads", "0 to 1024", "2000"]),
    ("cpu", CPU, "value: cpu}", "value: tpu}", ["--backend", "auto, cpu or cuda", "tpu"]),
    ("gpu", GPU, 'gpu, value: "1"', 'gpu, value: "2"', ["nvidia.com/gpu", "expected 1", "found 2"]),
    ("gpu", DEPLOYMENT, "replicas: 3", "replicas: -1", ["replicas", "-1"]),
    ("gpu", DEPLOYMENT, "replicas: 3", "replicas: many", ["replicas", "many"]),
    ("cpu", DEPLOYMENT, "periodSeconds: 2", "periodSeconds: soon", ["Deployment mlpserve", "soon"]),
    ("cpu", DEPLOYMENT, "periodSeconds: 10", "periodSeconds: 0", ["livenessProbe.periodSeconds", "1 to 3600"]),
    ("cpu", DEPLOYMENT, "memory: 4Gi", "memory: 4Gb", ["limits.memory", "4Gi", "found 4Gb"]),
    ("cpu", DEPLOYMENT, "memory: 1Gi", "memory: 8Gi", ["requests.memory", "at most the limit, 4Gi", "8Gi"]),
    ("cpu", DEPLOYMENT, "containerPort: 8001", "containerPort: 9001", ["containerPort", "8001, 8002", "9001"]),
    ("cpu", DEPLOYMENT, "maxSurge: 1", "maxSurge: 0", ["rollingUpdate", "both 0"]),
    ("cpu", DEPLOYMENT, "automountServiceAccountToken", "automountServiceAcountToken", ["automountServiceAcountToken"]),
    ("cpu", DEPLOYMENT, "replicas: 3", "replicas: [", ["deployment.yaml"]),
    ("cpu", "base/storage.yaml", "kind: PersistentVolumeClaim", "kind: PersistentVolumeClam", ["PersistentVolumeClam"]),
    ("cpu", "base/services.yaml", "targetPort: grpc", "targetPort: rpc", ["targetPort", "grpc, http", "rpc"]),
    ("cpu", "base/network.yaml", "port: http", "port: 80020", ["NetworkPolicy", "1 to 65535", "80020"]),
    ("cpu", "base/disruption.yaml", "maxUnavailable: 1", "maxUnavailable: 101%", ["0% to 100%", "101%"]),
    ("cpu", "base/storage.yaml", "storage: 10Gi", "storage: much", ["storage", "found much"]),
    ("cpu", "base/storage.yaml", "ReadOnlyMany", "ReadManyTimes", ["accessModes", "ReadManyTimes"]),
    ("cpu", "components/monitoring/podmonitor.yaml", "interval: 15s", "interval: 0s", ["interval", "15s", "0s"]),
    ("autoscaled", HPA, "minReplicas: 2", "minReplicas: 20", ["maxReplicas", "20 to 1000", "12"]),
    ("autoscaled", HPA, "averageValue: 50m", "averageValue: 5%", ["averageValue", "5%"]),
    ("kserve", KSERVE, "minReplicas: 1", "minReplicas: -1", ["InferenceService digits", "minReplicas", "-1"]),
    ("kserve", "kserve/servingruntime.yaml", "--drain-grace=10", "--drain-grace=30", ["--drain-grace 30", "found 30"]),
])
def test_value_out_of_range_is_refused_in_one_line(tmp_path, overlay, file, old, new, says):
    folder = shutil.copytree(KUBERNETES, tmp_path / "kubernetes")
    path = folder / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    code, output, error = render(overlay, folder)
    assert code == 1 and not output
    assert len(error.strip().splitlines()) == 1, error
    for word in says:
        assert word in error, error


def test_flags_and_their_ranges_are_the_programs():
    import importlib.util
    spec = importlib.util.spec_from_file_location("ranges", KUBERNETES / "ranges.py")
    ranges = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(ranges)
    bin = pathlib.Path(os.environ.get("MLPSERVE_BIN", ROOT / "build/release/bin"))
    text = subprocess.run([bin / "mlpserve", "--help"], capture_output=True, text=True, check=True).stdout
    offered = dict(re.findall(r"^  (?:-h,)?(--[a-z-]+) *(.*?)(?:  .*)?$", text, re.M))
    assert offered.keys() == ranges.FLAGS.keys() | ranges.SWITCHES
    for name, said in offered.items():
        if name in ranges.SWITCHES:
            continue
        span = re.search(r":(INT|FLOAT) in \[([\d.]+) - ([\d.]+)\]", said)
        words = re.search(r"\{(.*?)\}", said) or re.search(r"^([\w|]+\|\w+)", said)
        if span:
            assert (float(span[2]), float(span[3])) == ranges.FLAGS[name], name
            assert (span[1] == "INT") == (name in ranges.WHOLE), name
        elif words:
            assert set(re.split(r"[|,]", words[1])) == set(ranges.FLAGS[name]), name
        else:
            assert ranges.FLAGS[name] in (None, ranges.ADDRESS), name


def test_unknown_overlay_is_refused_in_one_line():
    code, output, error = render("tpu")
    assert code == 1 and not output and "tpu" in error and "autoscaled" in error
