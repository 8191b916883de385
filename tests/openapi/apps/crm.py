"""A CRM of teams: everything behind a bearer token and a tenant header; members, contacts, deals, notes, bulk operations."""

from datetime import datetime
from typing import Generic, TypeVar
from uuid import UUID

from fastapi import APIRouter, Depends, FastAPI, Header
from fastapi.security import HTTPBearer
from pydantic import BaseModel


def tenant(x_tenant_id: str = Header()): ...


app = FastAPI(title="CRM", version="3", dependencies=[Depends(HTTPBearer()), Depends(tenant)])


class User(BaseModel):
    id: UUID
    email: str


class TeamMember(BaseModel):
    user: User
    role: str


class Company(BaseModel):
    id: UUID
    name: str


class ContactOut(BaseModel):
    id: UUID
    name: str
    company: Company | None
    owner_id: UUID


class DealOut(BaseModel):
    id: UUID
    title: str
    amount: float
    stage: str
    contact: ContactOut


class NoteOut(BaseModel):
    id: int
    contact_id: UUID
    text: str
    written: datetime


class Pipeline(BaseModel):
    stages: dict[str, list[DealOut]]


T = TypeVar("T")


class Page(BaseModel, Generic[T]):
    data: list[T]
    meta: dict


teams = APIRouter(prefix="/v2/teams")


@teams.get("", response_model=list[dict])
def list_teams(): ...


@teams.post("", status_code=201)
def create_team(): ...


@teams.get("/{team_id}")
def get_team(team_id: UUID): ...


@teams.patch("/{team_id}")
def patch_team(team_id: UUID): ...


@teams.get("/{team_id}/members", response_model=list[TeamMember])
def members(team_id: UUID): ...


@teams.put("/{team_id}/members/{user_id}", status_code=204)
def join(team_id: UUID, user_id: UUID): ...


@teams.delete("/{team_id}/members/{user_id}", status_code=204)
def leave(team_id: UUID, user_id: UUID): ...


app.include_router(teams)


@app.get("/v2/companies", response_model=Page[Company])
def companies(): ...


@app.post("/v2/companies", response_model=Company)
def new_company(company: Company): ...


@app.patch("/v2/companies/{company_id}", response_model=Company)
def patch_company(company_id: UUID): ...


@app.get("/v2/contacts", response_model=Page[ContactOut])
def contacts(page: int = 1, per_page: int = 50): ...


@app.post("/v2/contacts", response_model=ContactOut)
def new_contact(contact: ContactOut): ...


@app.post("/v2/contacts/import", status_code=202)
def import_contacts(): ...


@app.post("/v2/contacts/bulk-delete")
def delete_contacts(ids: list[UUID]): ...


@app.post("/v2/contacts/search", response_model=Page[ContactOut])
def search_contacts(query: dict): ...


@app.get("/v2/contacts/{contact_id}", response_model=ContactOut)
def contact(contact_id: UUID): ...


@app.put("/v2/contacts/{contact_id}", response_model=ContactOut)
def put_contact(contact_id: UUID): ...


@app.delete("/v2/contacts/{contact_id}", status_code=204)
def delete_contact(contact_id: UUID): ...


@app.get("/v2/contacts/{contact_id}/notes", response_model=list[NoteOut])
def notes(contact_id: UUID): ...


@app.post("/v2/notes", response_model=NoteOut, status_code=201)
def write_note(note: NoteOut): ...


@app.put("/v2/notes/{note_id}", response_model=NoteOut)
def edit_note(note_id: int): ...


@app.get("/v2/deals", response_model=Page[DealOut])
def deals(): ...


@app.post("/v2/deals", response_model=DealOut)
def new_deal(deal: DealOut): ...


@app.get("/v2/deals/{deal_id}", response_model=DealOut)
def deal(deal_id: UUID): ...


@app.post("/v2/deals/{deal_id}/move", response_model=DealOut)
def move(deal_id: UUID): ...


@app.get("/v2/deals/pipeline", response_model=Pipeline)
def pipeline(): ...


@app.get("/v2/users/me", response_model=User)
def me(): ...


@app.get("/v2/users/{user_id}/deals", response_model=list[DealOut])
def deals_of(user_id: UUID): ...
