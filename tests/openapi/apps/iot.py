"""Devices with time series: API keys in a header that Larder does not know by itself, composite keys, exports by format."""

from datetime import datetime
from enum import Enum
from typing import Literal

from fastapi import FastAPI, Security, WebSocket
from fastapi.responses import StreamingResponse
from fastapi.security import APIKeyHeader
from pydantic import BaseModel

app = FastAPI(title="Telemetry", version="0.9")
key = Security(APIKeyHeader(name="device-secret"))


class Metric(str, Enum):
    temperature = "temperature"
    humidity = "humidity"


class Firmware(BaseModel):
    version: str
    url: str


class Site(BaseModel):
    site_id: int
    name: str
    device_count: int


class Device(BaseModel):
    device_id: str
    site_id: int
    name: str
    online: bool


class Point(BaseModel):
    at: datetime
    value: float


class Series(BaseModel):
    device_id: str
    metric: Metric
    points: list[Point]


class Alert(BaseModel):
    id: int
    device: Device
    acknowledged: bool


class Fleet(BaseModel):
    devices: int
    alerts_open: int
    by_site: dict[str, int]


@app.get("/sites", response_model=list[Site])
def sites(secret: str = key): ...


@app.post("/sites", response_model=Site, status_code=201)
def new_site(site: Site, secret: str = key): ...


@app.get("/sites/{site_id}/devices", response_model=list[Device])
def devices_of(site_id: int, secret: str = key): ...


@app.post("/sites/{site_id}/devices", response_model=Device, status_code=201)
def add_device(site_id: int, device: Device, secret: str = key): ...


@app.get("/devices/{device_id}", response_model=Device)
def device(device_id: str, secret: str = key): ...


@app.put("/devices/{device_id}", response_model=Device)
def configure(device_id: str, device: Device, secret: str = key): ...


@app.delete("/devices/{device_id}")
def remove(device_id: str, secret: str = key): ...


@app.get("/devices/{device_id}/measurements/{metric}", response_model=Series)
def series(device_id: str, metric: Metric, since: datetime | None = None, secret: str = key): ...


@app.post("/devices/{device_id}/measurements", status_code=202)
def measure(device_id: str, points: list[Point], secret: str = key): ...


@app.get("/devices/{device_id}/latest", response_model=dict[Metric, Point])
def latest(device_id: str, secret: str = key): ...


@app.get("/devices/{device_id}/live", response_class=StreamingResponse)
def live(device_id: str, secret: str = key): ...


@app.get("/devices/{device_id}/measurements/export", responses={200: {"content": {"text/csv": {}}}})
def export(device_id: str, format: Literal["csv", "parquet"] = "csv", secret: str = key): ...


@app.get("/alerts", response_model=list[Alert])
def alerts(secret: str = key): ...


@app.post("/alerts/{id}/acknowledge", response_model=Alert)
def acknowledge(id: int, secret: str = key): ...


@app.post("/alerts/mark-all-read", status_code=204)
def all_read(secret: str = key): ...


@app.get("/fleet/stats", response_model=Fleet)
def fleet(secret: str = key): ...


@app.get("/firmwares", response_model=list[Firmware])
def firmwares(): ...


@app.websocket("/ws")
async def socket(websocket: WebSocket): ...


@app.get("/metrics")
def metrics(): ...
