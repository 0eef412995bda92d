"""The Kubernetes manifests: rendered by kubectl, held to the API's schemas, and the promises that they must keep."""

import os
import pathlib
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


@pytest.mark.parametrize("old, new, says", [
    ('"--drain-grace", "10"', '"--drain-grace", "60"', ["--drain-grace 60", "terminationGracePeriodSeconds", "45"]),
    ('"--drain-grace", "10"', '"--drain-grace", "nan"', ["--drain-grace", "0 to 3600", "nan"]),
    ("replicas: 3", "replicas: -1", ["replicas", "-1"]),
    ("replicas: 3", "replicas: many", ["replicas", "many"]),
    ("periodSeconds: 2", "periodSeconds: soon", ["Deployment mlpserve", "soon"]),
    ("automountServiceAccountToken", "automountServiceAcountToken", ["automountServiceAcountToken"]),
    ("replicas: 3", "replicas: [", ["deployment.yaml"]),
])
def test_value_out_of_range_is_refused_in_one_line(tmp_path, old, new, says):
    folder = shutil.copytree(KUBERNETES, tmp_path / "kubernetes")
    path = folder / "base/deployment.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    code, output, error = render("gpu", folder)
    assert code == 1 and not output
    assert len(error.strip().splitlines()) == 1, error
    for word in says:
        assert word in error, error


def test_unknown_overlay_is_refused_in_one_line():
    code, output, error = render("tpu")
    assert code == 1 and not output and "tpu" in error and "autoscaled" in error
