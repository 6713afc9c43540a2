"""Starts a sandbox and speaks its control API; for tests and for a developer's shell.

with SandboxServer() as sandbox:
    sandbox.script("ORDER-1", ["500", "drop_after", "ok"])
    ...
    assert [entry["verdict"] for entry in sandbox.journal(id="ORDER-1")] == ["fault", "stored", "stored"]
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.error import HTTPError
from urllib.parse import quote, urlencode
from urllib.request import ProxyHandler, Request, build_opener

ROOT = Path(__file__).resolve().parents[2]
GREETING = "Sandbox listening on "

Fault = str | Mapping[str, Any]


class SandboxError(Exception):
    """The sandbox refused an order given to it; `errors` names the fields at fault."""

    def __init__(self, status: int, errors: Any) -> None:
        super().__init__(f"{status}: {errors}")
        self.status = status
        self.errors = errors


class SandboxServer:
    """A sandbox in a process of its own, on a free port."""

    def __init__(
        self,
        *,
        keys: Iterable[str] = (),
        statuses: Mapping[str, bool] | None = None,
        seed: int | None = None,
        port: int = 0,
        timeout: float = 10,
    ) -> None:
        """`statuses` maps each declared status to whether it is a sale; `timeout` is for the control API."""
        self.url = ""
        self._timeout = timeout
        # The developer's proxy must not stand between a test and its own machine.
        self._opener = build_opener(ProxyHandler({}))
        self._process: subprocess.Popen[str] | None = None
        self._command = [sys.executable, "-m", "optico_sync.sandbox", "--port", str(port)]
        for key in keys:
            self._command.append(f"--key={key}")
        for name, is_sale in (statuses or {}).items():
            self._command.append(f"--status={name}:sale" if is_sale else f"--status={name}")
        if seed is not None:
            self._command.append(f"--seed={seed}")

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    # Life

    def start(self) -> Self:
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        self._process = subprocess.Popen(  # noqa: S603 - our own module, no shell
            self._command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path}
        )
        if self._process.stdout is None:
            raise RuntimeError("No pipe to the sandbox.")
        line = self._process.stdout.readline()
        if not line.startswith(GREETING):
            status = self.stop()
            raise RuntimeError(f"The sandbox did not start (exit status {status}); its stderr says why.")
        self.url = line.removeprefix(GREETING).strip()
        return self

    def stop(self) -> int | None:
        """Ask the server to end; returns its exit status. Safe to call twice."""
        process, self._process = self._process, None
        if process is None:
            return None
        process.terminate()
        try:
            process.communicate(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
        return process.returncode

    # What it heard

    def journal(self, id: str | None = None, *, after: int = 0, vendor: str | None = None) -> list[dict[str, Any]]:
        query: dict[str, Any] = {"after": after}
        if vendor is not None:
            query["vendor"] = vendor
        if id is not None:
            query["id"] = id
        entries: list[dict[str, Any]] = self._ask("GET", f"journal?{urlencode(query)}")["entries"]
        return entries

    def orders(self) -> list[dict[str, Any]]:
        """All orders, the latest touched first."""
        orders: list[dict[str, Any]] = self._ask("GET", "orders")["orders"]
        return orders

    def order(self, id: str) -> dict[str, Any] | None:
        """One order, or None if it was never stored."""
        return self._find(f"orders/{quote(id, safe='')}")

    def records(self, vendor: str) -> list[dict[str, Any]]:
        """All records of one vendor, the latest touched first.

        "optico" has orders, "cart" carts, "ometria" and "optimizely" orders, "guaranteed_reviews" orders and mails.
        """
        records: list[dict[str, Any]] = self._ask("GET", f"records?{urlencode({'vendor': vendor})}")["records"]
        return records

    def record(self, vendor: str, id: str) -> dict[str, Any] | None:
        """One record, or None if it was never stored."""
        return self._find(f"records/{quote(vendor, safe='')}/{quote(id, safe='')}")

    def _find(self, path: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = self._ask("GET", path)
        except SandboxError as exc:
            if exc.status == 404:
                return None
            raise
        return found

    def summary(self) -> dict[str, Any]:
        summary: dict[str, Any] = self._ask("GET", "summary")
        return summary

    # How it behaves

    def reset(self) -> None:
        """Back to the state at start: no orders, no journal, no faults, the configuration it was started with."""
        self._ask("POST", "reset")

    def config(
        self,
        *,
        keys: Iterable[str] | None = None,
        statuses: Mapping[str, bool] | None = None,
        latency: float | None = None,
        **vendors: Any,
    ) -> dict[str, Any]:
        """Change what is given, keep the rest; returns what is now in force, keys masked.

        `vendors`: ``visits`` (a list, or None for any), ``ometria_keys``, ``ometria_rate``,
        ``optimizely_tokens`` (site to token), ``reviews_keys``.
        """
        wish: dict[str, Any] = dict(vendors)
        if keys is not None:
            wish["keys"] = list(keys)
        if statuses is not None:
            wish["statuses"] = [{"name": name, "is_sale": is_sale} for name, is_sale in statuses.items()]
        if latency is not None:
            wish["latency"] = latency
        config: dict[str, Any] = self._ask("PUT", "config", wish)
        return config

    def script(self, order_id: str, faults: Iterable[Fault]) -> None:
        """The next requests for one order go wrong in turn; "ok" lets one pass."""
        self._ask("POST", "faults", {"orders": {order_id: list(faults)}})

    def fault_all(self, fault: Fault | None) -> None:
        """Every request goes wrong, until cleared."""
        self._ask("POST", "faults", {"all": fault})

    def fault_probability(self, probability: float, faults: Iterable[Fault], *, seed: int | None = None) -> None:
        self._ask("POST", "faults", {"probability": {"probability": probability, "faults": list(faults), "seed": seed}})

    def clear_faults(self) -> None:
        self._ask("DELETE", "faults")

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        request = Request(  # noqa: S310 - the address is the server's own greeting
            f"{self.url}/sandbox/api/{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
            method=method,
        )
        try:
            with self._opener.open(request, timeout=self._timeout) as response:
                return json.load(response)
        except HTTPError as exc:
            with exc:
                text = exc.read().decode(errors="replace")
            raise SandboxError(exc.code, read_errors(text)) from None


def read_errors(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
