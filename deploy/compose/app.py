"""The API of compose.yaml: projects, slow enough that a cache shows."""

import asyncio

from fastapi import FastAPI

app, names = FastAPI(), {}


@app.get("/api/projects")
async def list_projects():
    await asyncio.sleep(0.3)
    return {"items": [{"id": id, "name": names.get(id, f"Project {id}")} for id in range(1, 6)]}


@app.get("/api/projects/{id}")
async def read_project(id: int):
    await asyncio.sleep(0.2)
    return {"id": id, "name": names.get(id, f"Project {id}")}


@app.put("/api/projects/{id}")
async def rename_project(id: int, name: str):
    names[id] = name
    return {"id": id, "name": name}


@app.get("/healthz")
async def healthz():
    return {"status": "ok"}
