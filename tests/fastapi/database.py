"""A backend with a database: what is written there by anybody, past Larder and past this app, is what its readers get."""

import os

from fastapi import FastAPI
from sqlalchemy import create_engine, event
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

engine = create_engine(os.environ["DATABASE_URL"])


@event.listens_for(engine, "connect")
def readers_do_not_wait_for_writers(connection, _):
    connection.execute("PRAGMA journal_mode=WAL")


class Base(DeclarativeBase):
    pass


class Project(Base):
    __tablename__ = "projects"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


app = FastAPI()


@app.get("/api/projects/{id}")
def read_project(id: int):
    with Session(engine) as session:
        project = session.get(Project, id)
        return {"name": project and project.name}


@app.get("/api/projects")
def list_projects():
    with Session(engine) as session:
        return {"names": [project.name for project in session.query(Project).order_by(Project.id)]}


@app.put("/api/projects/{id}")
def rename_project(id: int, name: str):
    with Session(engine) as session:
        session.merge(Project(id=id, name=name))
        session.commit()
