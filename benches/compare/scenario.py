"""What is asked of every contender, and the proof that it answers as the scenario says."""

import http.client
from dataclasses import dataclass, field

from process import Failed

# How often the addresses are asked for until the origin hears no more of it.
WARM_PASSES = 3


@dataclass(frozen=True)
class Scenario:
    name: str
    title: str
    path: str
    body_bytes: int
    addresses: int = 1
    is_hit: bool = True
    # Most that Larder may cost, as a share of each rival's CPU per request.
    targets: dict[str, float] = field(default_factory=dict)

    def load_arguments(self, port: int) -> list[str]:
        """The URL for wrk, and what load.lua is told."""
        base = f"http://127.0.0.1:{port}{self.path}"
        return [f"{base}0"] if self.addresses == 1 else [base, "--", str(self.addresses)]

    def prove(self, port: int, origin_port: int) -> str | None:
        """Warms every address and checks status and length of every answer.

        Gives a sentence if the origin heard more or less of the last pass than it should; an answer that is
        wrong in itself is a `Failed`.
        """
        heard = expected = 0
        for _ in range(1 + WARM_PASSES if self.is_hit else 1):
            before = served(origin_port)
            self._ask_all(port)
            heard, expected = served(origin_port) - before, 0 if self.is_hit else self.addresses
            if heard == expected:
                return None
        return f"of {self.addresses} requests {heard} reached the origin instead of {expected}"

    def _ask_all(self, port: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            for n in range(self.addresses):
                connection.request("GET", f"{self.path}{n}")
                answer = connection.getresponse()
                body = answer.read()
                if answer.status != 200 or len(body) != self.body_bytes:
                    raise Failed(f"{self.path}{n} was answered with {answer.status} and {len(body)} bytes")
        except (OSError, http.client.HTTPException) as error:
            raise Failed(f"{self.path} was not answered: {error!r}") from error
        finally:
            connection.close()


def served(origin_port: int) -> int:
    """How many requests the origin has answered."""
    connection = http.client.HTTPConnection("127.0.0.1", origin_port, timeout=5)
    try:
        connection.request("GET", "/served")
        return int(connection.getresponse().read())
    finally:
        connection.close()


HIT = {"nginx": 0.65, "varnish": 0.45, "haproxy": 0.85, "bare": 1.25}
PASS = {"nginx": 0.6, "haproxy": 1.4}

SCENARIOS = [
    Scenario("hit-1k", "1 KiB hit, one address", "/1k/", 1024, targets=HIT),
    Scenario("hit-10k", "1 KiB hit, 10,000 addresses at random", "/1k/", 1024, addresses=10_000, targets=HIT),
    Scenario("hit-64k", "64 KiB hit, one address", "/64k/", 64 * 1024),
    Scenario("pass", "Pass-through, 1 KiB", "/pass/", 1024, is_hit=False, targets=PASS),
]
