"""The shape of the full-stack template: users, items, login by OAuth2, utilities; superusers see more than others."""

import uuid

from fastapi import APIRouter, Depends, FastAPI
from fastapi.security import OAuth2PasswordBearer
from pydantic import BaseModel

app = FastAPI(title="Full Stack", openapi_url="/api/v1/openapi.json")
token = Depends(OAuth2PasswordBearer(tokenUrl="/api/v1/login/access-token"))


class ItemBase(BaseModel):
    title: str
    description: str | None = None


class ItemPublic(ItemBase):
    id: uuid.UUID
    owner_id: uuid.UUID


class ItemsPublic(BaseModel):
    data: list[ItemPublic]
    count: int


class UserPublic(BaseModel):
    id: uuid.UUID
    email: str
    full_name: str | None


class UsersPublic(BaseModel):
    data: list[UserPublic]
    count: int


class Token(BaseModel):
    access_token: str
    token_type: str = "bearer"


class Message(BaseModel):
    message: str


login = APIRouter(tags=["login"])
users = APIRouter(prefix="/users", tags=["users"])
items = APIRouter(prefix="/items", tags=["items"], dependencies=[token])
utils = APIRouter(prefix="/utils", tags=["utils"])


@login.post("/login/access-token", response_model=Token)
def access_token(): ...


@login.post("/login/test-token", response_model=UserPublic, dependencies=[token])
def test_token(): ...


@login.post("/password-recovery/{email}", response_model=Message)
def recover(email: str): ...


@login.post("/reset-password/", response_model=Message)
def reset(): ...


@users.get("/", response_model=UsersPublic, dependencies=[token])
def read_users(skip: int = 0, limit: int = 100): ...


@users.post("/", response_model=UserPublic, dependencies=[token])
def create_user(): ...


@users.patch("/me", response_model=UserPublic, dependencies=[token])
def update_me(): ...


@users.patch("/me/password", response_model=Message, dependencies=[token])
def password(): ...


@users.get("/me", response_model=UserPublic, dependencies=[token])
def me(): ...


@users.delete("/me", response_model=Message, dependencies=[token])
def delete_me(): ...


@users.post("/signup", response_model=UserPublic)
def signup(): ...


@users.get("/{user_id}", response_model=UserPublic, dependencies=[token])
def read_user(user_id: uuid.UUID): ...


@users.patch("/{user_id}", response_model=UserPublic, dependencies=[token])
def update_user(user_id: uuid.UUID): ...


@users.delete("/{user_id}", response_model=Message, dependencies=[token])
def delete_user(user_id: uuid.UUID): ...


@items.get("/", response_model=ItemsPublic)
def read_items(skip: int = 0, limit: int = 100): ...


@items.get("/{id}", response_model=ItemPublic)
def read_item(id: uuid.UUID): ...


@items.post("/", response_model=ItemPublic)
def create_item(item: ItemBase): ...


@items.put("/{id}", response_model=ItemPublic)
def update_item(id: uuid.UUID, item: ItemBase): ...


@items.delete("/{id}")
def delete_item(id: uuid.UUID) -> Message: ...


@utils.post("/test-email/", status_code=201, dependencies=[token])
def test_email(email_to: str) -> Message: ...


@utils.get("/health-check/")
def health_check() -> bool: ...


api = APIRouter(prefix="/api/v1")
for router in (login, users, items, utils):
    api.include_router(router)
app.include_router(api)
