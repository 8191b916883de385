"""Files, conversions and jobs: no response models, uploads and downloads, a status for each job, an OpenAPI 3.0 document."""

from fastapi import Depends, FastAPI, Header
from fastapi.responses import FileResponse, StreamingResponse
from pydantic import BaseModel

app = FastAPI(title="Files", version="7")
app.openapi_version = "3.0.2"


def user(authorization: str | None = Header(None)): ...


class FileMeta(BaseModel):
    id: str
    name: str
    size: int
    folder_id: str | None = None


class Folder(BaseModel):
    id: str
    name: str
    files: list[FileMeta]


@app.get("/folders")
def folders(user=Depends(user)): ...


@app.post("/folders")
def new_folder(user=Depends(user)): ...


@app.get("/folders/{folder_id}", response_model=Folder)
def folder(folder_id: str, user=Depends(user)): ...


@app.delete("/folders/{folder_id}")
def delete_folder(folder_id: str, user=Depends(user)): ...


FORM = {"type": "object", "properties": {"file": {"type": "string", "format": "binary"}, "folder_id": {"type": "string"}}}


@app.post("/files", response_model=FileMeta, openapi_extra={"requestBody": {"content": {"multipart/form-data": {"schema": FORM}}}})
def upload(user=Depends(user)): ...


@app.get("/files/{file_id}", response_model=FileMeta)
def meta(file_id: str, user=Depends(user)): ...


@app.patch("/files/{file_id}", response_model=FileMeta)
def rename(file_id: str, meta: FileMeta, user=Depends(user)): ...


@app.delete("/files/{file_id}")
def delete(file_id: str, user=Depends(user)): ...


@app.get("/files/{file_id}/download", response_class=FileResponse)
def download(file_id: str, user=Depends(user)): ...


@app.get("/files/{file_id}/content", responses={200: {"content": {"application/octet-stream": {}}}}, response_class=StreamingResponse)
def content(file_id: str, user=Depends(user)): ...


@app.post("/files/{file_id}/convert", status_code=202)
def convert(file_id: str, user=Depends(user)): ...


@app.get("/jobs")
def jobs(user=Depends(user)): ...


@app.get("/jobs/{job_id}")
def job(job_id: str, user=Depends(user)): ...


@app.get("/conversions/{id}/status")
def conversion(id: str, user=Depends(user)): ...


@app.post("/jobs/{job_id}/cancel")
def cancel(job_id: str, user=Depends(user)): ...


@app.get("/usage")
def usage(user=Depends(user)): ...


@app.get("/shared/{token}")
def shared(token: str): ...


@app.get("/version")
def version(): ...
