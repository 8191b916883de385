"""The backend of the load: a project API on SQLite, as a small team runs one. What it costs is its queries; it waits for nothing.

40 people, 500 projects, 20,000 tasks, 10,000 classifications. A detail joins its owner, counts its tasks by state and finds what is
like it by words; a list counts tasks and classifications of each project on the page; a search looks through names, texts and
titles; the dashboard adds up all tasks and classifications. Every change has a number of its own, rising: a project's `revision` is
that of its last change, `changed` the last of all of them, `classified` how many classifications there are. Every write is
committed before it is answered.
"""

import os
import random
import sqlite3
import threading

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

PROJECTS, PEOPLE, TASKS, CLASSIFICATIONS = 500, 40, 40, 20  # the last two for each project
PAGE = 20
STATES = ("open", "doing", "review", "done")
WORDS = """harbour meadow lantern copper orchard violet summit canyon granite willow ember falcon juniper marble cedar quartz
    saffron thicket glacier beacon""".split()

SCHEMA = """
CREATE TABLE person (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE project (id INTEGER PRIMARY KEY, name TEXT NOT NULL, text TEXT NOT NULL, owner INTEGER NOT NULL REFERENCES person,
    revision INTEGER NOT NULL);
CREATE TABLE task (id INTEGER PRIMARY KEY, project INTEGER NOT NULL REFERENCES project, person INTEGER NOT NULL REFERENCES person,
    title TEXT NOT NULL, state TEXT NOT NULL, hours INTEGER NOT NULL);
CREATE TABLE classification (id INTEGER PRIMARY KEY, project INTEGER NOT NULL REFERENCES project, label TEXT NOT NULL);
CREATE TABLE word (project INTEGER NOT NULL REFERENCES project, word TEXT NOT NULL);
CREATE INDEX task_project ON task (project);
CREATE INDEX classification_project ON classification (project);
CREATE INDEX word_project ON word (project);
CREATE INDEX word_word ON word (word);
"""

app = FastAPI()
local = threading.local()


def make(path):
    """A database with the same content every time."""
    chance = random.Random(1)

    def words(count):
        return " ".join(chance.choices(WORDS, k=count))

    with sqlite3.connect(path) as db:
        db.execute("PRAGMA journal_mode=WAL")
        db.executescript(SCHEMA)
        db.executemany("INSERT INTO person VALUES (?, ?)", [(n, words(2)) for n in range(1, PEOPLE + 1)])
        for id in range(1, PROJECTS + 1):
            owner = chance.randint(1, PEOPLE)
            db.execute("INSERT INTO project VALUES (?, ?, ?, ?, ?)", (id, words(3), words(60), owner, id))
            db.executemany("INSERT INTO word VALUES (?, ?)", [(id, word) for word in chance.sample(WORDS, 4)])
            tasks = [
                (id, chance.randint(1, PEOPLE), words(5), chance.choice(STATES), chance.randint(1, 40)) for _ in range(TASKS)
            ]
            db.executemany("INSERT INTO task (project, person, title, state, hours) VALUES (?, ?, ?, ?, ?)", tasks)
            labels = [(id, chance.choice(WORDS)) for _ in range(CLASSIFICATIONS)]
            db.executemany("INSERT INTO classification (project, label) VALUES (?, ?)", labels)
    db.close()


def database():
    if not hasattr(local, "db"):
        local.db = sqlite3.connect(os.environ["PROJECTS_DB"], isolation_level=None, timeout=10)
        local.db.row_factory = sqlite3.Row
        local.db.execute("PRAGMA synchronous=NORMAL")
    return local.db


class Reading:
    """What one read sees: one state of the database."""

    def __enter__(self):
        self.db = database()
        self.db.execute("BEGIN")
        return self

    def __exit__(self, *_):
        self.db.execute("COMMIT")

    def rows(self, query, *values):
        return [dict(row) for row in self.db.execute(query, values)]

    def value(self, query, *values):
        return self.db.execute(query, values).fetchone()[0]

    def changed(self):
        return self.value("SELECT MAX(revision) FROM project")


CARD = """
SELECT project.id, project.name, project.revision, person.name AS owner,
    (SELECT COUNT(*) FROM task WHERE task.project = project.id AND state != 'done') AS open,
    (SELECT SUM(hours) FROM task WHERE task.project = project.id AND state != 'done') AS hours,
    (SELECT COUNT(*) FROM task WHERE task.project = project.id) AS tasks
FROM project JOIN person ON person.id = project.owner
"""


@app.get("/api/projects")
def list_projects(page: int = 1):
    with Reading() as read:
        items = read.rows(f"{CARD} ORDER BY open DESC, project.id LIMIT ? OFFSET ?", PAGE, PAGE * (page - 1))
        return {"items": items, "page": page, "total": read.value("SELECT COUNT(*) FROM project"), "changed": read.changed()}


@app.get("/api/projects/{id}")
def read_project(id: int):
    with Reading() as read:
        found = read.rows("SELECT project.*, person.name AS by FROM project JOIN person ON person.id = owner WHERE project.id = ?", id)
        if not found:
            raise HTTPException(404)
        tasks = read.rows(
            "SELECT task.id, title, state, hours, person.name AS by FROM task JOIN person ON person.id = person"
            " WHERE project = ? ORDER BY state, hours DESC",
            id,
        )
        alike = read.rows(
            "SELECT other.project AS id, COUNT(*) AS words, (SELECT SUM(hours) FROM task WHERE task.project = other.project) AS hours"
            " FROM word JOIN word AS other ON other.word = word.word AND other.project != word.project"
            " WHERE word.project = ? GROUP BY other.project ORDER BY words DESC, hours LIMIT 5",
            id,
        )
        return {**found[0], "tasks": tasks, "alike": alike}


@app.get("/api/search")
def search(q: str):
    with Reading() as read:
        like = f"%{q}%"
        items = read.rows(
            f"{CARD} WHERE project.name LIKE ?1 OR project.text LIKE ?1"
            " OR EXISTS (SELECT 1 FROM task WHERE task.project = project.id AND title LIKE ?1)"
            " ORDER BY project.name LIKE ?1 DESC, open DESC LIMIT 20",
            like,
        )
        return {"items": items, "changed": read.changed()}


@app.get("/api/dashboard")
def dashboard():
    with Reading() as read:
        return {
            "states": read.rows("SELECT state, COUNT(*) AS tasks, SUM(hours) AS hours FROM task GROUP BY state"),
            "people": read.rows(
                "SELECT person.name, COUNT(*) AS tasks, SUM(hours) AS hours FROM task JOIN person ON person.id = person"
                " WHERE state != 'done' GROUP BY person.id ORDER BY hours DESC LIMIT 10"
            ),
            "labels": read.rows("SELECT label, COUNT(*) AS uses FROM classification GROUP BY label ORDER BY uses DESC"),
            "classified": read.value("SELECT COUNT(*) FROM classification"),
            "changed": read.changed(),
        }


class Change(BaseModel):
    name: str


class Label(BaseModel):
    label: str


class Writing(Reading):
    """One change; nobody else writes meanwhile."""

    def __enter__(self):
        self.db = database()
        self.db.execute("BEGIN IMMEDIATE")
        return self

    def __exit__(self, kind, *_):
        self.db.execute("COMMIT" if kind is None else "ROLLBACK")


@app.put("/api/projects/{id}")
def rename_project(id: int, change: Change):
    with Writing() as write:
        revision = write.changed() + 1
        write.rows("UPDATE project SET name = ?, revision = ? WHERE id = ?", change.name, revision, id)
    return {"id": id, "revision": revision}


@app.post("/api/projects", status_code=201)
def create_project(change: Change):
    with Writing() as write:
        id, revision = write.value("SELECT MAX(id) + 1 FROM project"), write.changed() + 1
        write.rows("INSERT INTO project VALUES (?, ?, '', 1, ?)", id, change.name, revision)
    return {"id": id, "revision": revision}


@app.post("/api/projects/{id}/classifications", status_code=201)
def classify(id: int, label: Label):
    with Writing() as write:
        write.rows("INSERT INTO classification (project, label) VALUES (?, ?)", id, label.label)
        return {"classified": write.value("SELECT COUNT(*) FROM classification")}
