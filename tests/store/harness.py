"""A PostgreSQL of the tests' own: Debian's binaries, a data directory and a free port on loopback,
with TLS and passwords as in production. Ended by its own process ids."""

import contextlib
import datetime
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PASSWORD = "corr%ect:horse@battery"
IN_A_URL = "corr%25ect%3Ahorse%40battery"
START_S = 30


class Server:
    """One PostgreSQL. Its certificate is for `localhost` alone."""

    def __init__(self) -> None:
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name))
        assert found, "PostgreSQL is not installed; run: make test"
        self._bin = found[-1]
        self.directory = Path(tempfile.mkdtemp(prefix="inhouse-postgresql-", dir="/tmp"))
        self.port = _free_port()
        self._as: dict[str, Any] = {"cwd": self.directory, "env": {"PATH": "/usr/bin:/bin"}}
        if os.geteuid() == 0:  # the server refuses to be root
            user = pwd.getpwnam("postgres")
            self._as |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
            os.chown(self.directory, user.pw_uid, user.pw_gid)
        self._process: subprocess.Popen[bytes] | None = None
        self._databases = 0
        self.ca = self.directory / "ca.pem"
        self._init()

    @property
    def data(self) -> Path:
        return self.directory / "data"

    def _init(self) -> None:
        secret = self.directory / "password"
        secret.write_text(PASSWORD)
        _make_certificates(self.directory)
        for path in self.directory.iterdir():
            path.chmod(0o600)
            if "user" in self._as:
                os.chown(path, self._as["user"], self._as["group"])
        self._run(
            "initdb", "-D", str(self.data), "-U", "postgres", "-A", "scram-sha-256",
            f"--pwfile={secret}", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "-N",
        )  # fmt: skip
        self.ca.chmod(0o644)
        self.directory.chmod(0o711)

    def _run(self, program: str, *arguments: str) -> str:
        environment = {**self._as["env"], "PGPASSWORD": PASSWORD}
        done = subprocess.run(
            [str(self._bin / program), *arguments],
            check=False, capture_output=True, text=True, timeout=60,
            **{**self._as, "env": environment},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return str(done.stdout)

    def dump(self, database: str, file: Path) -> None:
        """A backup with pg_dump."""
        file.write_text(self._run("pg_dump", *self._client(database), "--clean", "--if-exists"))

    def restore(self, database: str, file: Path) -> None:
        copy = self.directory / "restore.sql"
        shutil.copyfile(file, copy)
        copy.chmod(0o644)
        self._run("psql", *self._client(database), "-q", "-v", "ON_ERROR_STOP=1", "-f", str(copy))

    def copy_back(self, backup: Path) -> None:
        """A copy of the data directory in its place again, while it is stopped."""
        shutil.rmtree(self.data)
        shutil.copytree(backup, self.data)
        self.data.chmod(0o700)
        for path in (self.data, *self.data.rglob("*")):
            if "user" in self._as:
                os.chown(path, self._as["user"], self._as["group"])

    def _client(self, database: str) -> list[str]:
        return ["-h", "127.0.0.1", "-p", str(self.port), "-U", "inhouse", "-d", database]

    def start(self) -> None:
        settings = {
            "listen_addresses": "127.0.0.1", "unix_socket_directories": str(self.directory),
            "port": self.port, "fsync": "off", "max_connections": 60, "ssl": "on",
            "ssl_cert_file": self.directory / "server.pem",
            "ssl_key_file": self.directory / "server.key",
        }  # fmt: skip
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        command = [str(self._bin / "postgres"), "-D", str(self.data), *options]
        end = time.monotonic() + START_S
        while True:
            if self._process is None or self._process.poll() is not None:
                # not at once, where a child of one that was killed is still there
                with (self.directory / "log").open("ab") as log:
                    self._process = subprocess.Popen(command, stdout=log, stderr=log, **self._as)
            try:
                self.admin("SELECT 1")
                break
            except psycopg.OperationalError:
                assert time.monotonic() < end, (self.directory / "log").read_text()[-2000:]
                time.sleep(0.05)

    def recover(self) -> None:
        """Running, whatever a test left behind."""
        if self._process is None:
            self.start()
        else:
            self.resume()

    def stop(self) -> None:
        """An orderly end, which waits for nobody."""
        if self._process is not None:
            self.resume()
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()
            self._process = None

    def kill(self) -> None:
        """As a machine that lost its power: every process at once."""
        assert self._process is not None
        self._signal(signal.SIGKILL)
        self._process.wait(20)
        self._process = None

    def pause(self) -> None:
        """Stopped: connections are taken by the system, and nobody answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        """To the server and its children, which are asked for while it has them."""
        assert self._process is not None
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for each in (pid, *map(int, children)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, number)

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def cut(self) -> None:
        """End every connection of Inhouse."""
        self.admin(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'inhouse'"
        )

    def admin(self, statement: str, database: str = "postgres") -> list[Any]:
        """What the superuser's statement answers."""
        with psycopg.connect(
            host="127.0.0.1", port=self.port, user="postgres", password=PASSWORD,
            dbname=database, autocommit=True, connect_timeout=5,
        ) as connection:  # fmt: skip
            cursor = connection.execute(statement)
            return list(cursor.fetchall()) if cursor.description else []

    def database(self) -> str:
        """A new database, owned by the user `inhouse`."""
        if not self.admin("SELECT 1 FROM pg_roles WHERE rolname = 'inhouse'"):
            self.admin(f"CREATE ROLE inhouse LOGIN PASSWORD '{PASSWORD}'")
        self._databases += 1
        name = f"inhouse{self._databases}"
        self.admin(f"CREATE DATABASE {name} OWNER inhouse")
        return name

    @staticmethod
    def authority(directory: Path) -> Path:
        """Another authority, which has signed nothing here."""
        _make_certificates(directory, "another authority")
        return directory / "ca.pem"

    def toml(self, database: str) -> str:
        """The section that names a database of this server."""
        url = f"postgresql://inhouse:{IN_A_URL}@127.0.0.1:{self.port}/{database}"
        return f'[store]\nurl = "{url}"\n'


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """One server for the whole run, for tests that leave it running."""
    server = Server()
    try:
        server.start()
        yield server
    finally:
        server.remove()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def _make_certificates(directory: Path, authority: str = "authority of the tests") -> None:
    """An authority, and a certificate of it for `localhost`."""
    now = datetime.datetime.now(datetime.UTC)
    key, ca_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, authority)])
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])

    def begun(subject: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(ca_name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
        )

    ca = begun(ca_name, ca_key.public_key()).add_extension(
        x509.BasicConstraints(ca=True, path_length=0), critical=True
    )
    names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    leaf = begun(name, key.public_key()).add_extension(names, critical=False)
    pem = serialization.Encoding.PEM
    (directory / "ca.pem").write_bytes(ca.sign(ca_key, hashes.SHA256()).public_bytes(pem))
    (directory / "server.pem").write_bytes(leaf.sign(ca_key, hashes.SHA256()).public_bytes(pem))
    (directory / "server.key").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
