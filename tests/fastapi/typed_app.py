"""A typed application with logins, as its own OpenAPI document describes it: what `larder init` is tried on."""

from fastapi import APIRouter, Depends, FastAPI, HTTPException
from fastapi.security import OAuth2PasswordBearer
from pydantic import BaseModel

bearer = OAuth2PasswordBearer(tokenUrl="/api/v1/login")
app = FastAPI(title="Typed projects", version="1.0")
api = APIRouter(prefix="/api/v1")


class User(BaseModel):
    id: int
    name: str


class ProjectIn(BaseModel):
    name: str


class Task(BaseModel):
    id: int
    project_id: int
    title: str


class Project(BaseModel):
    id: int
    name: str
    owner: User
    task_count: int


class Page(BaseModel):
    items: list[Project]
    total: int
    asked: int


class Stats(BaseModel):
    total_projects: int
    total_tasks: int
    asked: int


class Country(BaseModel):
    code: str
    asked: int


users, projects, tasks, asked = {}, {}, {}, {}


def count(name):
    asked[name] = asked.get(name, 0) + 1
    return asked[name]


def who(token: str = Depends(bearer)) -> User:
    if token not in users:
        raise HTTPException(401)
    return users[token]


def shown(id):
    project = projects[id]
    number = sum(task.project_id == id for task in tasks.values())
    return Project(id=id, name=project["name"], owner=users[project["owner"]], task_count=number)


def own(id: int, user: User = Depends(who)):
    if id not in projects or projects[id]["owner"] != f"token-{user.id}":
        raise HTTPException(404)
    return id


@app.put("/_/reset", include_in_schema=False)
def reset():
    for table in (users, projects, tasks, asked):
        table.clear()
    users.update({f"token-{id}": User(id=id, name=name) for id, name in ((1, "Ada"), (2, "Bob"))})
    projects.update({id: {"name": f"P{id}", "owner": f"token-{1 + (id > 2)}"} for id in (1, 2, 3)})


class Login(BaseModel):
    access_token: str


@api.post("/login", response_model=Login)
def login(name: str):
    return Login(access_token=next(token for token, user in users.items() if user.name == name))


@api.post("/logout", status_code=204)
def logout(user: User = Depends(who)): ...


@api.get("/users/me", response_model=User)
def me(user: User = Depends(who)):
    return user


@api.get("/users/{user_id}", response_model=User)
def read_user(user_id: int, user: User = Depends(who)):
    return users[f"token-{user_id}"]


@api.patch("/users/{user_id}", response_model=User)
def rename_user(user_id: int, name: str, user: User = Depends(who)):
    users[f"token-{user_id}"].name = name
    return users[f"token-{user_id}"]


@api.get("/projects", response_model=Page)
def list_projects(page: int = 1, user: User = Depends(who)):
    items = [shown(id) for id, project in projects.items() if project["owner"] == f"token-{user.id}"]
    return Page(items=items, total=len(items), asked=count(f"projects {user.id}"))


@api.post("/projects", response_model=Project, status_code=201)
def create_project(project: ProjectIn, user: User = Depends(who)):
    id = max(projects) + 1
    projects[id] = {"name": project.name, "owner": f"token-{user.id}"}
    return shown(id)


@api.get("/projects/{id}", response_model=Project)
def read_project(id: int = Depends(own)):
    count(f"project {id}")
    return shown(id)


@api.put("/projects/{id}", response_model=Project)
def rename_project(project: ProjectIn, id: int = Depends(own)):
    projects[id]["name"] = project.name
    return shown(id)


@api.delete("/projects/{id}", status_code=204)
def delete_project(id: int = Depends(own)):
    del projects[id]
    for task in [task for task in tasks.values() if task.project_id == id]:
        del tasks[task.id]


@api.get("/projects/{id}/tasks", response_model=list[Task])
def list_tasks(id: int = Depends(own)):
    return [task for task in tasks.values() if task.project_id == id]


@api.post("/projects/{id}/tasks", response_model=Task, status_code=201)
def create_task(title: str, id: int = Depends(own)):
    task = Task(id=len(tasks) + 1, project_id=id, title=title)
    tasks[task.id] = task
    return task


@api.patch("/tasks/{task_id}", response_model=Task)
def rename_task(task_id: int, title: str, user: User = Depends(who)):
    tasks[task_id].title = title
    return tasks[task_id]


@api.get("/stats", response_model=Stats)
def stats():
    return Stats(total_projects=len(projects), total_tasks=len(tasks), asked=count("stats"))


@api.get("/countries", response_model=list[Country])
def countries():
    return [Country(code="DE", asked=count("countries"))]


@api.get("/health")
def health():
    return {"asked": count("health")}


app.include_router(api)
