"""TLS, mutual TLS and tokens against a real server, with certificates that openssl makes here."""

import subprocess
import time

import grpc
import pytest

from conftest import DIGITS, Server


class Authority:
    """A root certificate, and certificates that it signs."""

    def __init__(self, folder, name):
        self.folder = folder
        folder.mkdir()
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                     "-subj", f"/CN={name}", "-days", "2", "-keyout", "root.key", "-out", "root.pem")

    def openssl(self, *arguments):
        subprocess.run(["openssl", *arguments], cwd=self.folder, check=True, capture_output=True)

    def sign(self, name):
        """NAME.key and NAME.pem, for localhost."""
        (self.folder / "extensions").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        self.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
                     f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        self.openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "root.pem", "-CAkey", "root.key",
                     "-CAcreateserial", "-days", "2", "-extfile", "extensions", "-out", f"{name}.pem")
        return self

    def path(self, name):
        return self.folder / name

    def read(self, name):
        return self.path(name).read_bytes()


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls") / "ours", "ours").sign("server").sign("client")


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls") / "theirs", "theirs").sign("server").sign("client")


def live(server, credentials=None, token=None):
    """The code of a ServerLive call."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    channel = (grpc.insecure_channel(server.grpc_address, options) if credentials is None else
               grpc.secure_channel(server.grpc_address, credentials, options))
    with channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ServerLive")
        try:
            call(b"", timeout=5, metadata=[("authorization", token)] if token else None)
        except grpc.RpcError as error:
            return error.code().name
        return "OK"


def tls_flags(authority):
    return ("--tls-certificate", authority.path("server.pem"), "--tls-key",
            authority.path("server.key"))


def test_who_speaks_tls_and_trusts_the_root_is_answered(start, ours, theirs):
    server = start(DIGITS, *tls_flags(ours))
    assert live(server, grpc.ssl_channel_credentials(ours.read("root.pem"))) == "OK"
    assert live(server, grpc.ssl_channel_credentials(theirs.read("root.pem"))) == "UNAVAILABLE"
    assert live(server) == "UNAVAILABLE", "plain text"


def test_with_a_client_ca_a_client_needs_its_certificate(start, ours, theirs):
    server = start(DIGITS, *tls_flags(ours), "--tls-client-ca", ours.path("root.pem"))
    root = ours.read("root.pem")
    assert live(server, grpc.ssl_channel_credentials(
        root, ours.read("client.key"), ours.read("client.pem"))) == "OK"
    assert live(server, grpc.ssl_channel_credentials(root)) == "UNAVAILABLE"
    assert live(server, grpc.ssl_channel_credentials(
        root, theirs.read("client.key"), theirs.read("client.pem"))) == "UNAVAILABLE"


def test_certificates_are_read_again_when_they_change(start, ours, theirs, tmp_path):
    link = tmp_path / "certificates"
    link.symlink_to(ours.folder)
    server = start(DIGITS, "--tls-certificate", link / "server.pem", "--tls-key",
                   link / "server.key")
    old = grpc.ssl_channel_credentials(ours.read("root.pem"))
    new = grpc.ssl_channel_credentials(theirs.read("root.pem"))
    assert live(server, old) == "OK"
    (tmp_path / "next").symlink_to(theirs.folder)
    (tmp_path / "next").rename(link)
    deadline = time.monotonic() + 20
    while live(server, new) != "OK":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert live(server, old) == "UNAVAILABLE"


def test_a_token_over_tls(start, ours, tmp_path):
    (tmp_path / "tokens").write_text("secret\n")
    server = start(DIGITS, *tls_flags(ours), "--token-file", tmp_path / "tokens")
    credentials = grpc.ssl_channel_credentials(ours.read("root.pem"))
    assert live(server, credentials, "Bearer secret") == "OK"
    assert live(server, credentials, "Bearer other") == "UNAUTHENTICATED"
    assert live(server, credentials) == "UNAUTHENTICATED"


@pytest.mark.parametrize("flags, says", [
    (["--tls-certificate", "server.pem"], "--tls-key"),
    (["--tls-key", "server.key"], "--tls-certificate"),
    (["--tls-client-ca", "root.pem"], "--tls-certificate"),
    (["--tls-certificate", "missing", "--tls-key", "server.key"], "missing"),
    (["--tls-certificate", "extensions", "--tls-key", "server.key"], "extensions"),
])
def test_files_that_do_not_go_together_refuse_to_start(ours, tmp_path, flags, says):
    flags = [flag if flag.startswith("--") else ours.path(flag) for flag in flags]
    with pytest.raises(AssertionError):
        Server(DIGITS, tmp_path / "log", *flags)
    assert says in (tmp_path / "log").read_text()
