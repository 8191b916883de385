"""A real Chromium without a window, spoken to by its DevTools protocol: what a person would see, press and read of a page."""

import base64
import contextlib
import itertools
import json
import shutil
import subprocess
import tempfile

from websockets.sync.client import connect

from origin import DEADLINE, until

#: What is kept of what it tells unasked.
HEARD = {"Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Network.requestWillBeSent"}
#: What Debian calls it, and what others do.
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
#: What it says of a page that goes while it is asked of it.
LEFT = {"Inspected target navigated or closed", "Execution context was destroyed.", "Cannot find default execution context"}


class Left(AssertionError):
    """The page was left."""


class Browser:
    """One process; `page()` opens a tab of its own, with nothing remembered from another."""

    def __init__(self):
        binary = next(filter(None, map(shutil.which, NAMES)), None)
        assert binary, "Chromium is missing: install what Debian calls chromium"
        self.folder = tempfile.TemporaryDirectory(prefix="larder-chromium-", ignore_cleanup_errors=True)
        command = [binary, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
        command += ["--remote-debugging-port=0", "--disable-background-networking", "--disable-component-update"]
        # What is not looked at runs on all the same, as in a window on a wall.
        command += ["--disable-background-timer-throttling", "--disable-renderer-backgrounding", "--hide-scrollbars"]
        command += ["--enable-precise-memory-info", f"--user-data-dir={self.folder.name}", "about:blank"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        line = next(line for line in self.process.stderr if "DevTools listening on" in line)
        self.closing = contextlib.ExitStack()
        # No pings: what it tells waits until somebody asks for something, and the answers to them behind it.
        address = line.split(" on ")[1].strip()
        self.socket = self.closing.enter_context(connect(address, max_size=None, open_timeout=DEADLINE, ping_interval=None))
        self.ids, self.heard = itertools.count(1), []

    def call(self, method, session=None, **params):
        """Asks for something and gives the answer; what is told meanwhile is kept for its page."""
        id = next(self.ids)
        message = {"id": id, "method": method, "params": params} | ({"sessionId": session} if session else {})
        self.socket.send(json.dumps(message))
        while True:
            told = json.loads(self.socket.recv(DEADLINE))
            if told.get("id") == id:
                if told.get("error", {}).get("message") in LEFT:
                    raise Left(f"{method}: {told['error']}")
                assert "error" not in told, f"{method}: {told['error']}"
                return told["result"]
            if told.get("method") in HEARD:
                self.heard.append(told)

    def page(self, **kwargs):
        return Page(self, **kwargs)

    def stop(self):
        self.closing.close()
        self.process.terminate()
        self.process.wait(DEADLINE)
        self.process.stderr.close()
        self.folder.cleanup()


class Page:
    """A tab. `scripts=False` runs none; `dark`, `width` and `height` are the person's."""

    def __init__(self, browser, scripts=True, dark=True, width=1440, height=1000, still=False):
        self.browser = browser
        self.context = browser.call("Target.createBrowserContext")["browserContextId"]
        target = browser.call("Target.createTarget", url="about:blank", browserContextId=self.context)["targetId"]
        self.session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "Performance"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setScriptExecutionDisabled", value=not scripts)
        self.size(width, height)
        features = {"prefers-color-scheme": "dark" if dark else "light"} | ({"prefers-reduced-motion": "reduce"} if still else {})
        self.call("Emulation.setEmulatedMedia", features=[{"name": name, "value": value} for name, value in features.items()])
        self.scripts = scripts

    def call(self, method, **params):
        return self.browser.call(method, self.session, **params)

    def size(self, width, height):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def open(self, url, headers=None):
        self.call("Network.setExtraHTTPHeaders", headers=headers or {})
        self.call("Page.navigate", url=url)
        until(lambda: self.loaded(url), f"{url} is loaded")

    def loaded(self, url):
        return self.eval("document.readyState") == "complete" and self.eval("location.href") == url

    def eval(self, expression):
        """What JavaScript says of it; works where the page's own scripts do not run. Of a page that is just being left, the next one says it."""
        for _ in range(9):
            with contextlib.suppress(Left):
                return self._eval(expression)
        return self._eval(expression)

    def _eval(self, expression):
        told = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    def text(self, selector):
        """What a person can read there; None if it is not shown."""
        shown = f"document.querySelector({json.dumps(selector)})"
        return self.eval(f"{shown} && {shown}.checkVisibility() ? {shown}.innerText : null")

    def rows(self, selector):
        """The cells of a table's body."""
        found = f"document.querySelectorAll({json.dumps(selector + ' tbody tr')})"
        return self.eval(f"[...{found}].map((row) => [...row.cells].map((cell) => cell.textContent))")

    def click(self, selector):
        # Never on the next page: a click that leaves this one has done what it was for.
        with contextlib.suppress(Left):
            self._eval(f"document.querySelector({json.dumps(selector)}).click()")

    def type(self, selector, text):
        self.eval(f"document.querySelector({json.dumps(selector)}).focus()")
        self.call("Input.insertText", text=text)

    def press(self, key, code=None, shift=False):
        codes = {"Tab": 9, "Enter": 13, " ": 32}
        common = {"key": key, "code": code or key, "windowsVirtualKeyCode": codes[key], "modifiers": 8 if shift else 0}
        text = {"Enter": "\r", " ": " "}.get(key)
        self.call("Input.dispatchKeyEvent", type="keyDown", **common, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def screenshot(self, file, whole=False):
        size = self.call("Page.getLayoutMetrics")["cssContentSize"] if whole else None
        clip = {"clip": {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}} if whole else {}
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole, **clip)["data"]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(base64.b64decode(data))
        return file

    def complaints(self):
        """Everything that the console has to complain of, violations of the policy among it."""
        self.eval("1")
        found = []
        for told in self.browser.heard:
            if told.get("sessionId") != self.session:
                continue
            params = told["params"]
            if told["method"] == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
                found.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
            elif told["method"] == "Runtime.exceptionThrown":
                details = params["exceptionDetails"]
                found.append(details.get("exception", {}).get("description", details["text"]))
            elif told["method"] == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
                found.append(str([argument.get("value") for argument in params["args"]]))
        return found

    def asked(self):
        """Every URL that was asked for."""
        own = [told for told in self.browser.heard if told.get("sessionId") == self.session]
        return [told["params"]["request"]["url"] for told in own if told["method"] == "Network.requestWillBeSent"]

    def held(self):
        """What it holds once all rubbish is gone: bytes of its scripts, nodes, listeners."""
        self.call("HeapProfiler.collectGarbage")
        metrics = {one["name"]: one["value"] for one in self.call("Performance.getMetrics")["metrics"]}
        return {"heap": metrics["JSHeapUsedSize"], "nodes": metrics["Nodes"], "listeners": metrics["JSEventListeners"]}

    def close(self):
        self.browser.call("Target.disposeBrowserContext", browserContextId=self.context)
        self.browser.heard = [told for told in self.browser.heard if told.get("sessionId") != self.session]
