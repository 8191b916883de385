"""Several Redis servers that stand in for one another: with sentinels, or as a Cluster; with TLS and a user who may little."""

import contextlib
import re
import signal
import subprocess

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from origin import DEADLINE, free_port, until
from proxy import ROOT

#: All that the user of a fleet has to be allowed, as the README says.
RULE = re.search(r"^ACL SETUSER larder on >PASSWORD (.*)$", (ROOT / "README.md").read_text(), re.MULTILINE).group(1)
COMMANDS = " ".join(word for word in RULE.split() if word.startswith("+"))
USER = f"larder on >pass {RULE}"


class Server:
    """A `redis-server`, or a sentinel, with nothing to find on disk. Ended by `end`, whatever was done to it."""

    def __init__(self, folder, arguments=(), tls=None, mode=()):
        self.port = free_port()
        self.folder = folder / str(self.port)
        self.folder.mkdir()
        self.tls = tls
        port = ["--tls-port", str(self.port), "--port", "0", *tls.arguments] if tls else ["--port", str(self.port)]
        self.command = ["redis-server", *mode, *port, "--bind", "127.0.0.1", "--dir", str(self.folder), *arguments]
        # Who becomes a replica ends his connections. One that stands still is asked once: whoever waits asks again by himself.
        again = Retry(NoBackoff(), 2, supported_errors=(redis.ConnectionError,))
        patience = {"socket_timeout": 5, "retry": again}
        self.client = redis.Redis(port=self.port, **patience, **(tls.client if tls else {}))
        self.start()

    def start(self):
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log)
        until(self._answers, "redis-server answers")

    def _answers(self):
        assert self.process.poll() is None, (self.folder / "log").read_text()
        with contextlib.suppress(redis.RedisError):
            return self.client.ping()

    def info(self, section):
        return self.client.info(section)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)

    def end(self):
        if self.process.poll() is None:
            self.kill()
        self.client.close()


class Tls:
    """A certificate for 127.0.0.1 that is its own authority."""

    def __init__(self, folder):
        self.cert, self.key = folder / "cert.pem", folder / "key.pem"
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        command += ["-subj", "/CN=redis", "-days", "2", "-addext", "basicConstraints=critical,CA:FALSE"]
        command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(self.key), "-out", str(self.cert)]
        subprocess.run(command, check=True, capture_output=True)
        files = ["--tls-cert-file", self.cert, "--tls-key-file", self.key, "--tls-ca-cert-file", self.cert]
        self.arguments = [*map(str, files), "--tls-auth-clients", "no", "--tls-replication", "yes"]
        self.client = {"ssl": True, "ssl_ca_certs": str(self.cert), "ssl_check_hostname": False}
        self.env = {"SSL_CERT_FILE": str(self.cert)}


class Sentinels:
    """A primary with two replicas, and three sentinels that watch them."""

    QUORUM = 2

    def __init__(self, folder):
        (folder / "empty").touch()
        common = ["--save", "", "--repl-diskless-sync-delay", "0", "--user", *USER.split()]
        self.servers = [Server(folder, common)]
        self.first = self.servers[0]
        self.sentinels = []
        try:
            follow = ["--replicaof", "127.0.0.1", str(self.first.port)]
            self.servers += [Server(folder, [*common, *follow]) for _ in range(2)]
            until(lambda: self.first.info("replication")["connected_slaves"] == 2, "both follow")
            for replica in self.servers[1:]:
                until(lambda replica=replica: replica.info("replication")["master_link_status"] == "up", "it follows")
            self.sentinels = [self._sentinel(folder) for _ in range(3)]
            for sentinel in self.sentinels:
                until(lambda sentinel=sentinel: self._knows_all(sentinel), "they know one another")
        except BaseException:
            self.end()
            raise

    def _sentinel(self, folder):
        watched = f"sentinel monitor mymaster 127.0.0.1 {self.first.port} {self.QUORUM}\n"
        watched += "sentinel down-after-milliseconds mymaster 1000\nsentinel failover-timeout mymaster 2000\n"
        file = folder / f"sentinel-{free_port()}.conf"
        file.write_text(watched)
        return Server(folder, mode=[str(file), "--sentinel"])

    @staticmethod
    def _knows_all(sentinel):
        said = sentinel.client.sentinel_master("mymaster")
        return said["num-other-sentinels"] == 2 and said["num-slaves"] == 2

    @property
    def config(self):
        nodes = " ".join(f"redis://127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f'sentinel: {{ master: mymaster, nodes: "{nodes}", user: larder, password: pass }}'

    @property
    def env(self):
        return {}

    def primary(self):
        """Whom the sentinels call the primary."""
        _, port = self.sentinels[0].client.sentinel_get_master_addr_by_name("mymaster")
        return next(server for server in self.servers if server.port == port)

    def end(self):
        for server in self.sentinels + self.servers:
            server.end()


class Cluster:
    """Three primaries with a replica each, over TLS."""

    def __init__(self, folder):
        self.tls = Tls(folder)
        self.servers = []
        try:
            for _ in range(6):
                mode = ["--cluster-enabled", "yes", "--cluster-port", str(free_port()), "--cluster-node-timeout", "1000"]
                mode += ["--tls-cluster", "yes", "--save", "", "--repl-diskless-sync-delay", "0", "--user", *USER.split()]
                # Debian's cluster would wait for ten seconds before a replica may be promoted after it was connected.
                mode += ["--cluster-replica-validity-factor", "0"]
                self.servers.append(Server(folder, mode, self.tls))
            nodes = [f"127.0.0.1:{server.port}" for server in self.servers]
            create = ["redis-cli", "--tls", "--cacert", str(self.tls.cert), "--cluster", "create", *nodes]
            create += ["--cluster-replicas", "1", "--cluster-yes"]
            made = subprocess.run(create, capture_output=True, text=True, timeout=DEADLINE)
            assert made.returncode == 0, made.stdout + made.stderr
            for server in self.servers:
                until(lambda server=server: self._is_whole(server), "it is whole")
        except BaseException:
            self.end()
            raise

    @staticmethod
    def _is_whole(server):
        said = server.client.execute_command("CLUSTER INFO")
        role = server.info("replication")
        has = role.get("master_link_status") == "up" or role.get("connected_slaves") == 1
        return said["cluster_state"] == "ok" and said["cluster_known_nodes"] == "6" and has

    @property
    def config(self):
        return "url: [{}]".format(", ".join(f'"rediss://larder:pass@127.0.0.1:{s.port}"' for s in self.servers[:2]))

    @property
    def env(self):
        return self.tls.env

    def primary(self):
        """Who owns the slot of the journal."""
        for server in self.servers:
            if server.process.poll() is None:
                with contextlib.suppress(redis.RedisError):
                    server.client.execute_command("EXISTS", "{larder}:meta")
                    return server
        return None

    def end(self):
        for server in self.servers:
            server.end()
