"""The backend of these tests: a FastAPI app as people write them, and a control desk at `/_` to steer and question it.

Tests talk to the desk directly, never through the proxy. It counts what arrives, holds requests at gates, and answers
in another's stead; the routes know nothing of it.
"""

import asyncio
import hashlib
from collections import Counter

from fastapi import FastAPI, Request, Response, WebSocket
from fastapi.middleware.cors import CORSMiddleware
from fastapi.middleware.gzip import GZipMiddleware
from fastapi.responses import StreamingResponse
from pydantic import BaseModel


class Gate:
    """Holds the first `limit` requests until it is opened; `stage` says where: before the route, or before its answer leaves."""

    def __init__(self, stage, limit):
        self.stage, self.limit = stage, limit
        self.held, self.opened, self.arrival = 0, asyncio.Event(), asyncio.Condition()

    async def hold(self, stage):
        if stage != self.stage or self.opened.is_set() or self.held >= self.limit:
            return
        self.held += 1
        async with self.arrival:
            self.arrival.notify_all()
        await self.opened.wait()

    async def has_held(self, count):
        async with self.arrival:
            await self.arrival.wait_for(lambda: self.held >= count)


class Desk:
    """Everything that a test may look at or change."""

    def __init__(self):
        self.seen, self.gates, self.answers, self.jobs = [], {}, {}, {}
        self.versions, self.steps, self.counts = Counter(), asyncio.Semaphore(0), Counter()

    def note(self, request):
        self.seen.append(request)
        self.counts[request["path"]] += 1

    def count(self, path):
        return self.counts[path]


desk = Desk()


class Watch:
    """Notes every request, and holds it where a gate stands."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http" or scope["path"].startswith("/_/"):
            return await self.app(scope, receive, send)
        desk.note(noted(scope))
        gate = desk.gates.get(f"{scope['method']} {scope['path']}", Gate(None, 0))
        await gate.hold("request")

        async def held_send(message):
            if message["type"] == "http.response.start":
                await gate.hold("response")
            await send(message)

        app = desk.answers.get(scope["path"], self.app)
        await app(scope, receive, held_send)


def noted(scope):
    raw = scope["raw_path"].split(b"?")[0].decode("latin-1")
    return {
        "method": scope["method"],
        "path": scope["path"],
        "target": raw + ("?" + scope["query_string"].decode("latin-1") if scope["query_string"] else ""),
        "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]],
    }


app = FastAPI()
app.add_middleware(Watch)


# ---- the project API --------------------------------------------------------------------------------------------


@app.get("/api/projects")
def list_projects():
    return {"items": [{"id": 42}], "n": desk.count("/api/projects")}


@app.post("/api/projects", status_code=201)
async def create_project(request: Request, response: Response):
    response.headers["Location"] = "/api/projects/7"
    desk.versions["7"] += 1
    return {"id": "7", "got": await request.json()}


@app.get("/api/projects/{id}")
def read_project(id: str):
    return {"id": id, "version": desk.versions[id], "n": desk.count(f"/api/projects/{id}")}


@app.put("/api/projects/{id}")
@app.patch("/api/projects/{id}")
async def update_project(id: str, request: Request):
    desk.versions[id] += 1
    return {"id": id, "version": desk.versions[id], "got": await request.json()}


@app.delete("/api/projects/{id}", status_code=204)
def delete_project(id: str):
    desk.versions[id] += 1


@app.get("/api/projects/{id}/export")
def export_project(id: str):
    return {"id": id, "n": desk.count(f"/api/projects/{id}/export")}


@app.get("/api/imports/{id}")
def read_import(id: str):
    return {"id": id, "version": desk.versions[id]}


@app.put("/api/imports/{id}")
async def run_import(id: str):
    async def progress():
        yield "half, "
        await desk.steps.acquire()
        desk.versions[id] += 1  # committed with the last row
        yield "done"

    return StreamingResponse(progress(), media_type="text/plain")


@app.post("/api/projects/{id}/classifications", status_code=201)
@app.post("/api/projects/{id}/predicates", status_code=201)
def annotate_project(id: str):
    return {"id": id}


@app.get("/api/dashboard")
def dashboard(request: Request):
    return {"who": request.headers.get("authorization"), "n": desk.count("/api/dashboard")}


@app.patch("/api/users/{id}/{rest:path}")
@app.post("/api/auth/{id}")
def change_user(id: str):
    return {"id": id}


@app.get("/api/stats")
@app.get("/api/search")
@app.get("/api/slow")
@app.get("/api/items/")
@app.get("/api/static/{rest:path}")
def numbered(request: Request):
    return {"query": request.url.query, "n": desk.count(request.url.path)}


@app.post("/api/search")
def save_search():
    return {"saved": True}


class Find(BaseModel):
    request_id: str
    q: str
    page: int = 1
    near: dict[str, float] = {}


@app.post("/api/find")
def find(asked: Find):
    return {"asked": asked, "n": desk.count("/api/find")}


@app.get("/api/jobs/{id}")
def read_job(id: str):
    return {"id": id, "status": desk.jobs.get(id, "running"), "n": desk.count(f"/api/jobs/{id}")}


# ---- people -----------------------------------------------------------------------------------------------------


@app.get("/api/whoami")
def whoami(request: Request):
    names = ("authorization", "x-api-key", "x-tenant-id", "cookie")
    return {"who": [request.headers.get(name) for name in names], "n": desk.count("/api/whoami")}


@app.get("/api/members")
def members(request: Request, response: Response):
    who = request.headers.get("authorization")
    if who is None:
        response.status_code = 401
    return {"who": who}


@app.get("/api/visits")
def visits(response: Response):
    response.set_cookie("session", f"s{desk.count('/api/visits')}")
    return {"n": desk.count("/api/visits")}


# ---- the odd and the large --------------------------------------------------------------------------------------


@app.api_route("/api/echo", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
async def echo(request: Request):
    digest, size = hashlib.sha256(), 0
    async for chunk in request.stream():
        digest.update(chunk)
        size += len(chunk)
    headers = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in request.headers.raw]
    return {"method": request.method, "headers": headers, "size": size, "sha256": digest.hexdigest()}


@app.get("/api/says")
def says(request: Request, cache_control: str):
    return Response(f"{desk.count('/api/says')}", headers={"Cache-Control": cache_control})


@app.get("/api/etag")
def bare_etag():
    return Response("etag", headers={"ETag": "W/1851"})


@app.get("/api/download")
def download(mib: int):
    return StreamingResponse((bytes(1 << 16) for _ in range(16 * mib)), media_type="application/octet-stream")


@app.get("/api/events")
async def events():
    async def stream():
        for number in range(3):
            yield f"data: {number}\n\n"
            await desk.steps.acquire()

    return StreamingResponse(stream(), media_type="text/event-stream")


@app.websocket("/api/ws")
async def websocket(socket: WebSocket):
    await socket.accept()
    async for text in socket.iter_text():
        await socket.send_text(f"echo {text}")


# ---- behind the middleware that most apps have ------------------------------------------------------------------

listed = FastAPI()
listed.add_middleware(GZipMiddleware, minimum_size=100)
listed.add_middleware(CORSMiddleware, allow_origins=["https://a.example", "https://b.example"])

anyone = FastAPI()
anyone.add_middleware(CORSMiddleware, allow_origins=["*"])


@listed.get("/items")
@anyone.get("/items")
def items(request: Request):
    return {"items": ["thing"] * 100, "n": desk.count(request.scope["root_path"] + "/items")}


app.mount("/listed", listed)
app.mount("/anyone", anyone)

# ---- the desk ---------------------------------------------------------------------------------------------------

control = FastAPI()
app.mount("/_", control)


@control.post("/reset")
def reset():
    for gate in desk.gates.values():
        gate.opened.set()
    desk.__init__()


@control.get("/seen")
def seen():
    return desk.seen


@control.put("/gate")
async def close_gate(on: str, stage: str, limit: int):
    desk.gates[on] = Gate(stage, limit)


@control.get("/gate")
async def wait_at_gate(on: str, held: int):
    await desk.gates[on].has_held(held)


@control.delete("/gate")
async def open_gate(on: str):
    desk.gates.pop(on).opened.set()


@control.put("/answer")
def answer(path: str, status: int):
    desk.answers[path] = Response("answered in its stead", status_code=status, media_type="text/plain")


@control.put("/jobs/{id}")
def set_job(id: str, status: str):
    desk.jobs[id] = status


@control.post("/step")
async def step():
    desk.steps.release()
