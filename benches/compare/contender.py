"""The five servers, each set up as its manual would for this work: one core, no log, connections kept for ever.

All pass `/pass/` on without looking into the cache, keep all else for as long as the origin says, and reuse their
connections to the origin.
"""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from process import free_port


@dataclass(frozen=True)
class Place:
    """Where a contender lives for one run."""

    folder: Path
    port: int
    origin: int
    binaries: dict[str, str]

    def write(self, name: str, text: str) -> str:
        path = self.folder / name
        path.write_text(text)
        return str(path)


@dataclass(frozen=True)
class Contender:
    name: str
    command: Callable[[Place], list[str]]
    version: list[str]
    package: str | None = None

    def version_text(self, binaries: dict[str, str]) -> str:
        """The version number as the program itself gives it."""
        if not self.version:
            return ""
        said = subprocess.run([binaries[self.version[0]], *self.version[1:]], capture_output=True, text=True, timeout=10)
        found = re.search(r"\d+\.\d+[\w.+~-]*", said.stdout + said.stderr)
        return found.group() if found else "version unknown"


def larder(place: Place) -> list[str]:
    config = place.write("larder.yaml", f"""
routes:
  /1k/{{n}}: 1h
  /64k/{{n}}: 1h
  /pass/{{rest:path}}: bypass
log: {{ access: off }}
admin: {{ listen: "127.0.0.1:{free_port()}" }}
shutdown: {{ delay: 0s, timeout: 1s }}
""")
    return [place.binaries["larder"], "run", "--config", config, "--listen", f"127.0.0.1:{place.port}",
            "--upstream", f"http://127.0.0.1:{place.origin}"]


def bare(place: Place) -> list[str]:
    return [place.binaries["bare"], f"127.0.0.1:{place.port}", f"127.0.0.1:{place.origin}"]


def nginx(place: Place) -> list[str]:
    # open_file_cache saves a third of a hit; tcp_nopush would make 64 KiB wait 40 ms for delayed ACKs on loopback.
    config = place.write("nginx.conf", f"""
daemon off;
worker_processes 1;
pid {place.folder}/pid;
error_log stderr crit;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    keepalive_timeout 1h;
    keepalive_requests 1000000000;
    open_file_cache max=20000 inactive=1h;
    open_file_cache_valid 1h;
    client_body_temp_path {place.folder}/body;
    proxy_temp_path {place.folder}/proxy;
    fastcgi_temp_path {place.folder}/fastcgi;
    uwsgi_temp_path {place.folder}/uwsgi;
    scgi_temp_path {place.folder}/scgi;
    proxy_cache_path {place.folder}/cache levels=1:2 keys_zone=cache:16m max_size=1g inactive=1d use_temp_path=off;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    upstream origin {{
        server 127.0.0.1:{place.origin};
        keepalive 128;
        keepalive_requests 1000000000;
        keepalive_timeout 1h;
    }}
    server {{
        listen 127.0.0.1:{place.port};
        location / {{ proxy_pass http://origin; proxy_cache cache; }}
        location /pass/ {{ proxy_pass http://origin; }}
    }}
}}
""")
    return [place.binaries["nginx"], "-e", "stderr", "-p", str(place.folder), "-c", config]


def varnish(place: Place) -> list[str]:
    vcl = place.write("default.vcl", f"""
vcl 4.1;
backend origin {{ .host = "127.0.0.1"; .port = "{place.origin}"; }}
sub vcl_recv {{ if (req.url ~ "^/pass/") {{ return (pass); }} }}
""")
    return [place.binaries["varnishd"], "-F", "-n", str(place.folder / "work"), "-a", f"127.0.0.1:{place.port}", "-T", "none",
            "-f", vcl, "-s", "malloc,256m", "-p", "thread_pools=1"]


def haproxy(place: Place) -> list[str]:
    config = place.write("haproxy.cfg", f"""
global
    nbthread 1
    maxconn 1000
defaults
    mode http
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    http-reuse always
cache memory
    total-max-size 64
    max-object-size 262144
    max-age 3600
frontend clients
    bind 127.0.0.1:{place.port}
    http-request cache-use memory unless {{ path_beg /pass/ }}
    default_backend origin
backend origin
    http-response cache-store memory
    server origin 127.0.0.1:{place.origin}
""")
    return [place.binaries["haproxy"], "-db", "-q", "-f", config]


CONTENDERS = [
    Contender("larder", larder, ["larder", "--version"]),
    Contender("nginx", nginx, ["nginx", "-v"], "nginx"),
    Contender("varnish", varnish, ["varnishd", "-V"], "varnish"),
    Contender("haproxy", haproxy, ["haproxy", "-v"], "haproxy"),
    Contender("bare", bare, []),
]
