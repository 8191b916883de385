"""Projects and their classifications: the project API, typed, behind OAuth2."""

from uuid import UUID

from fastapi import APIRouter, Depends, FastAPI
from fastapi.responses import StreamingResponse
from fastapi.security import OAuth2PasswordBearer
from pydantic import BaseModel

app = FastAPI(title="Project API", version="2.1.0")
bearer = OAuth2PasswordBearer(tokenUrl="/api/auth/token")


class UserBrief(BaseModel):
    id: int
    name: str


class ProjectBase(BaseModel):
    name: str
    description: str | None = None


class ProjectRead(ProjectBase):
    id: UUID
    owner: UserBrief
    classification_count: int = 0


class ProjectPage(BaseModel):
    items: list[ProjectRead]
    total: int
    page: int


class Classification(BaseModel):
    id: int
    project_id: UUID
    label: str


class Stats(BaseModel):
    total_projects: int
    total_classifications: int


class Dashboard(BaseModel):
    recent_projects: list[ProjectRead]
    open_classifications: int


class JobState(BaseModel):
    id: str
    status: str
    progress: float


class User(BaseModel):
    id: int
    name: str
    email: str


api = APIRouter(prefix="/api")
mine = APIRouter(prefix="/api", dependencies=[Depends(bearer)])


@mine.get("/projects", response_model=ProjectPage, tags=["projects"])
def list_projects(page: int = 1, size: int = 20, q: str | None = None): ...


@mine.post("/projects", response_model=ProjectRead, status_code=201)
def create_project(project: ProjectBase): ...


@mine.get("/projects/{project_id}", response_model=ProjectRead)
def read_project(project_id: UUID): ...


@mine.put("/projects/{project_id}", response_model=ProjectRead)
@mine.patch("/projects/{project_id}", response_model=ProjectRead)
def update_project(project_id: UUID, project: ProjectBase): ...


@mine.delete("/projects/{project_id}", status_code=204)
def delete_project(project_id: UUID): ...


@mine.post("/projects/{project_id}/archive", response_model=ProjectRead)
def archive_project(project_id: UUID): ...


@mine.get("/projects/{project_id}/export")
def export_project(project_id: UUID): ...


@mine.get("/projects/{project_id}/classifications", response_model=list[Classification])
def list_classifications(project_id: UUID): ...


@mine.post("/projects/{project_id}/classifications", response_model=Classification, status_code=201)
def classify(project_id: UUID): ...


@mine.delete("/projects/{project_id}/classifications/{classification_id}", status_code=204)
def unclassify(project_id: UUID, classification_id: int): ...


@mine.get("/dashboard", response_model=Dashboard)
def dashboard(): ...


@api.get("/stats", response_model=Stats)
def stats(): ...


@mine.get("/search", response_model=ProjectPage)
def search(q: str): ...


@mine.get("/jobs/{job_id}", response_model=JobState)
def job(job_id: str): ...


@mine.get("/users/{user_id}", response_model=User)
def read_user(user_id: int): ...


@mine.patch("/users/{user_id}", response_model=User)
def update_user(user_id: int): ...


@api.post("/auth/token")
def token(): ...


@api.post("/auth/logout", status_code=204)
def logout(): ...


@mine.get("/auth/me", response_model=User)
def me(): ...


@api.get("/projects/{project_id}/events", response_class=StreamingResponse, responses={200: {"content": {"text/event-stream": {}}}})
def events(project_id: UUID): ...


@api.get("/health")
def health(): ...


app.include_router(mine)
app.include_router(api)
