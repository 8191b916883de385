"""The real binary, in front of an origin, with a configuration of the test's own."""

import contextlib
import http.client
import os
import signal
import subprocess
from pathlib import Path

import httpx

from origin import DEADLINE, free_port, until

ROOT = Path(__file__).parents[2]
BINARY = Path(os.environ.get("LARDER_BIN", ROOT / "target/debug/larder"))


class Larder:
    """`larder run`, ready to serve. `config` is YAML text, or the path of a file that is used as it is."""

    def __init__(self, folder, config, upstream, env=None, ready=True):
        assert BINARY.exists(), f"{BINARY} is missing: run `cargo build` first"
        self.port, self.admin_port = free_port(), free_port()
        self.url, self.admin = f"http://127.0.0.1:{self.port}", f"http://127.0.0.1:{self.admin_port}"
        self.out, self.err = folder / f"{self.port}.out", folder / f"{self.port}.err"
        self.graceful = not isinstance(config, Path)
        command = [str(BINARY), "run", "--listen", f"127.0.0.1:{self.port}"]
        command += ["--admin-listen", f"127.0.0.1:{self.admin_port}"]
        if config is not None:
            command += ["--config", str(self._file(folder, config))]
        if upstream is not None:
            command += ["--upstream", upstream]
        clean = {name: os.environ[name] for name in ("PATH", "HOME", "RUST_BACKTRACE") if name in os.environ}
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen(command, stdout=out, stderr=err, cwd=folder, env=clean | (env or {}))
        self.client = httpx.Client(base_url=self.url, trust_env=False, timeout=DEADLINE)
        if ready:
            until(self._is_ready, "/readyz says 200")

    def _file(self, folder, config):
        if isinstance(config, Path):
            return config
        if "shutdown:" not in config:
            config += "\nshutdown: { delay: 0s, timeout: 5s }\n"
        file = folder / f"{self.port}.yaml"
        file.write_text(config)
        return file

    def _is_ready(self):
        assert self.process.poll() is None, f"larder ended with {self.process.returncode}:\n{self.stderr()}"
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"{self.admin}/readyz", trust_env=False).status_code == 200

    def request(self, method, path, **kwargs):
        """One request over a kept-alive connection; no cookie jar, no redirects followed."""
        self.client.cookies.clear()
        return self.client.request(method, path, **kwargs)

    def get(self, path, **headers):
        """`X_Api_Key="k"` becomes the field `X-Api-Key: k`."""
        return self.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})

    def raw_get(self, target, **headers):
        """A GET whose target goes out byte for byte; gives (X-Cache, body, status)."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)
        with contextlib.closing(connection):
            connection.request("GET", target, headers=headers)
            response = connection.getresponse()
            return response.getheader("X-Cache"), response.read(), response.status

    def metric(self, name, **labels):
        """The sum of a counter or gauge over all series that carry these labels (values without regard to case)."""
        wanted = [f'{label}="{value}"'.lower() for label, value in labels.items()]
        lines = httpx.get(f"{self.admin}/metrics", trust_env=False).text.splitlines()
        series = [line for line in lines if line.split("{")[0].split(" ")[0] == name]
        return sum(float(line.rsplit(" ", 1)[1]) for line in series if all(w in line.lower() for w in wanted))

    def peak_memory(self):
        """The most memory it ever held, in bytes."""
        return self._memory("VmHWM")

    def memory(self):
        """The memory that it holds, in bytes."""
        return self._memory("VmRSS")

    def _memory(self, name):
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split(f"{name}:")[1].split()[0]) * 1024

    def stdout(self):
        return self.out.read_text()

    def stderr(self):
        return self.err.read_text()

    def stop(self):
        """SIGTERM and join; whatever a test did, it ends cleanly and without a panic."""
        self.client.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM if self.graceful else signal.SIGKILL)
        try:
            code = self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError("larder did not end after SIGTERM") from None
        assert "panicked" not in self.stderr(), self.stderr()
        assert code == (0 if self.graceful else -signal.SIGKILL), f"exit code {code}"


def cached(response):
    """What `X-Cache` says."""
    return response.headers.get("X-Cache")


def status(response):
    """The parameters of Larder's member of `Cache-Status`; a bare one is True."""
    name, *params = [part.strip() for part in response.headers["Cache-Status"].split(";")]
    assert name == "larder", name
    pairs = [param.partition("=") for param in params]
    return {key: value.strip('"') if equals else True for key, equals, value in pairs}
