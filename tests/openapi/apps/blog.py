"""A blog with nested comments: plain dicts in places, slugs, people, trailing slashes; nothing but GET is protected by hand."""

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.security import APIKeyHeader
from pydantic import BaseModel

app = FastAPI(title="Blog")
key = Depends(APIKeyHeader(name="X-API-Key"))


class Person(BaseModel):
    id: int
    name: str


class Tag(BaseModel):
    id: int
    label: str


class Comment(BaseModel):
    id: int
    author: Person
    text: str
    replies: list["Comment"] = []


class Post(BaseModel):
    id: int
    slug: str
    title: str
    author: Person
    tags: list[Tag]
    comments_count: int


class PostDetail(Post):
    body: str
    comments: list[Comment]


class Results(BaseModel):
    results: list[Post]
    count: int
    next: str | None


@app.get("/")
def root(): ...


@app.get("/posts/", response_model=Results)
def posts(limit: int = 10, offset: int = 0, tag: str | None = None): ...


@app.post("/posts/", response_model=PostDetail, status_code=201, dependencies=[key])
def write(post: Post): ...


@app.get("/posts/{slug}/", response_model=PostDetail)
def read(slug: str): ...


@app.patch("/posts/{slug}/", response_model=PostDetail, dependencies=[key])
def edit(slug: str): ...


@app.delete("/posts/{slug}/", dependencies=[key])
def delete(slug: str): ...


@app.post("/posts/{slug}/publish", dependencies=[key])
def publish(slug: str): ...


@app.get("/posts/{slug}/comments", response_model=list[Comment])
def comments(slug: str): ...


@app.post("/posts/{slug}/comments", response_model=Comment, status_code=201)
def comment(slug: str): ...


@app.delete("/comments/{comment_id}", dependencies=[key])
def remove_comment(comment_id: int): ...


@app.post("/comments/{comment_id}/like")
def like(comment_id: int): ...


@app.get("/people", response_model=list[Person])
def people(): ...


@app.get("/people/{person_id}", response_model=Person)
def person(person_id: int): ...


@app.put("/people/{person_id}", response_model=Person, dependencies=[key])
def change_person(person_id: int): ...


@app.get("/people/{person_id}/posts", response_model=list[Post])
def posts_of(person_id: int): ...


@app.get("/tags", response_model=list[Tag])
def tags(): ...


@app.get("/feed.xml", responses={200: {"content": {"application/rss+xml": {}}}})
def rss(): ...


@app.get("/archive", deprecated=True)
def archive(): ...


@app.get("/posts/random", response_model=Post)
def random_post(): ...


@app.get("/media/{file_path:path}")
def media(file_path: str): ...


@app.post("/media", status_code=201, dependencies=[key])
def upload(): ...
