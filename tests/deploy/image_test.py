"""The cpu image, built for real and run as its own configuration says: its user, a read-only root, mlpserve as PID 1.

There is no Docker daemon here. The container is made of what daemons make theirs of: namespaces of its own for mounts,
processes and network, the image's root mounted read-only, its user without any capability.
"""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
FOLDER = pathlib.Path(os.environ.get("MLPSERVE_IMAGE_FOLDER", ROOT / "build/image"))
MODELS = ROOT / "deploy/models"
TAG = "localhost/mlpserve:cpu"
MAX_MEGABYTES = 300

IN_CONTAINER = """
set -e
mount --make-rprivate /
mount --bind "$ROOT" "$ROOT"
mount -t proc proc "$ROOT/proc"
[ -z "$MODELS" ] || mount --bind -o ro "$MODELS" "$ROOT/models"
mount -o remount,ro,bind "$ROOT"
ip link set lo up
exec env -i $IMAGE_ENV chroot "$ROOT" setpriv --reuid "${IMAGE_USER%:*}" --regid "${IMAGE_USER#*:}" --clear-groups \\
  --no-new-privs --bounding-set=-all --inh-caps=-all "$@"
"""


def run(*command, **options):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True,
                          timeout=options.pop("timeout", 60), **options)
    return done


def buildah(*arguments):
    done = run("buildah", "--root", FOLDER / "storage", "--runroot", FOLDER / "run",
               "--storage-driver", "vfs", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def compiler_cache():
    """Where ccache keeps what the other builds of this machine compiled; the image has the same compiler."""
    done = run("ccache", "--get-config", "cache_dir")
    return ["--ccache", done.stdout.strip()] if done.returncode == 0 else []


class Image:
    def __init__(self):
        if "MLPSERVE_IMAGE_IS_BUILT" not in os.environ:
            self.build()
        inspected = json.loads(buildah("inspect", "--type", "image", TAG))
        self.config = inspected["Docker"]["config"]
        self.container = buildah("from", "--pull-never", TAG)
        self.root = pathlib.Path(buildah("mount", self.container))
        (self.root / "models").mkdir()  # a runtime makes the mount's folder

    @staticmethod
    def build():
        log = FOLDER.parent / "image.log"
        with open(log, "w", encoding="utf-8") as output:
            done = subprocess.run([ROOT / "deploy/image/build", "--storage", FOLDER, *compiler_cache()],
                                  stdout=output, stderr=output, timeout=1400)
        assert done.returncode == 0, "".join(log.read_text().splitlines(True)[-30:])

    def close(self):
        buildah("rm", self.container)


@pytest.fixture(scope="session")
def image():
    FOLDER.mkdir(parents=True, exist_ok=True)
    built = Image()
    yield built
    built.close()


class Container:
    """One container of the image on its own loopback, with `flags` after the image's entrypoint."""

    def __init__(self, image, log, *flags, models=MODELS):
        self.image = image
        self.log_path = log
        environment = {**os.environ, "ROOT": str(image.root), "MODELS": str(models or ""),
                       "IMAGE_USER": image.config["User"], "IMAGE_ENV": " ".join(image.config["Env"])}
        with open(log, "wb") as output:
            self.process = subprocess.Popen(
                ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "sh", "-c", IN_CONTAINER, "sh",
                 *image.config["Entrypoint"], *flags],
                env=environment, stdout=output, stderr=output, stdin=subprocess.DEVNULL)

    def log(self):
        return self.log_path.read_text()

    def pid(self):
        """mlpserve, as the host numbers it."""
        return int(run("pgrep", "-P", self.process.pid).stdout)

    def execute(self, command, user=None):
        uid, gid = (user or self.image.config["User"]).split(":")
        return run("nsenter", f"--target={self.pid()}", "--mount", "--net", "--pid", "--root", "--wd=/",
                   f"--setuid={uid}", f"--setgid={gid}", "env", "-i", *self.image.config["Env"], *command)

    def healthy(self):
        kind, *command = self.image.config["Healthcheck"]["Test"]
        assert kind == "CMD"
        return self.execute(command).returncode == 0

    def await_healthy(self, seconds=60):
        deadline = time.monotonic() + seconds
        while "ready" not in self.log() or not self.healthy():
            assert self.process.poll() is None and time.monotonic() < deadline, self.log()
            time.sleep(0.1)

    def stop(self, seconds=30):
        """The image's stop signal to PID 1, then its exit code."""
        if self.process.poll() is None:
            os.kill(self.pid(), getattr(signal, self.image.config.get("StopSignal", "SIGTERM")))
        try:
            return self.process.wait(seconds)
        finally:
            self.process.kill()


@pytest.fixture(scope="session")
def container(image, tmp_path_factory):
    running = Container(image, tmp_path_factory.mktemp("container") / "log", "--backend", "cpu",
                        "--drain-grace", "0")
    running.await_healthy()
    yield running
    running.stop()


def test_dockerfiles_have_no_findings():
    hadolint = shutil.which("hadolint", path=f"{ROOT / 'build/venv/bin'}:{os.environ['PATH']}")
    files = [ROOT / "Dockerfile", *(ROOT / "deploy").rglob("Dockerfile*")]
    done = run(hadolint, *files)
    assert done.returncode == 0 and not done.stdout, done.stdout + done.stderr


def test_image_is_small(image):
    megabytes = int(run("du", "-sm", "--one-file-system", image.root).stdout.split()[0])
    print(f"the cpu image takes {megabytes} MB unpacked")
    assert megabytes < MAX_MEGABYTES


def test_image_says_what_it_is(image):
    labels = image.config["Labels"]
    assert labels["org.opencontainers.image.title"] == "mlpserve"
    assert re.fullmatch(r"\d+\.\d+\.\d+", labels["org.opencontainers.image.version"])
    assert re.fullmatch(r"[0-9a-f]{12}", labels["org.opencontainers.image.revision"])
    assert set(image.config["ExposedPorts"]) == {"8001/tcp", "8002/tcp"}
    assert image.config["StopSignal"] == "SIGTERM"


def test_runs_as_its_own_user_in_a_read_only_root_as_pid_1(container):
    status = (pathlib.Path("/proc") / str(container.pid()) / "status").read_text()
    value = dict(line.split(":", 1) for line in status.splitlines())
    assert set(value["Uid"].split()) == set(value["Gid"].split()) == {"65532"}
    assert int(value["CapEff"], 16) == int(value["CapBnd"], 16) == 0
    assert value["NoNewPrivs"].strip() == "1"
    assert value["NSpid"].split()[-1] == "1"
    for folder in ("/", "/tmp", "/models", "/var/cache/mlpserve"):
        assert "Read-only" in container.execute(["touch", f"{folder}/file"], user="0:0").stderr, folder


def test_classifies_the_digits(container):
    done = container.execute(["mlpserve-client", "infer", "digits", "--input", "/models/digits/test.safetensors",
                              "--labels", "/models/digits/test.safetensors"])
    assert done.returncode == 0, done.stderr
    assert "437" in done.stdout, done.stdout


def test_load_tester_of_the_compose_file_runs_in_it(container):
    load = yaml.safe_load((ROOT / "deploy/compose/compose.yaml").read_text())["services"]["load"]
    command = [*load["entrypoint"], *load["command"]]
    command[command.index("--address") + 1] = "127.0.0.1:8001"
    command[command.index("--duration-s") + 1] = "0.3"
    done = container.execute(command)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("1 row") == 4, done.stdout


def test_stop_signal_turns_health_off_and_ends_with_code_0(image, tmp_path):
    running = Container(image, tmp_path / "log", "--backend", "cpu", "--drain-grace", "60")
    running.await_healthy()
    os.kill(running.pid(), signal.SIGTERM)
    deadline = time.monotonic() + 10
    while running.healthy():
        assert time.monotonic() < deadline, running.log()
    assert running.stop() == 0, running.log()  # the second signal ends the grace


def test_without_a_repository_it_says_where_it_expected_one(image, tmp_path):
    (image.root / "models").rmdir()
    try:
        running = Container(image, tmp_path / "log", models=None)
        assert running.process.wait(30) == 2
    finally:
        (image.root / "models").mkdir()
    lines = running.log().strip().splitlines()
    assert len(lines) == 1 and "/models" in lines[0], lines
