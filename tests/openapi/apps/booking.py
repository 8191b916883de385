"""Rooms and bookings: availability, recurring slots, waitlists, guests; mixed conventions, cookies for staff, global security off for some."""

from datetime import date, datetime
from enum import Enum

from fastapi import APIRouter, Depends, FastAPI, Path
from fastapi.security import APIKeyCookie, APIKeyQuery
from pydantic import BaseModel

app = FastAPI(title="Booking", version="5.2", servers=[{"url": "/booking"}])
staff = Depends(APIKeyCookie(name="staff_session"))
partner = Depends(APIKeyQuery(name="partner"))


class Floor(str, Enum):
    ground = "ground"
    first = "first"


class Hotel(BaseModel):
    hotelId: int
    name: str
    roomCount: int


class Room(BaseModel):
    number: int
    floor: Floor
    hotel: Hotel


class Slot(BaseModel):
    start: datetime
    free: bool


class Guest(BaseModel):
    id: int
    name: str


class Booking(BaseModel):
    reference: str
    room: Room
    guest: Guest
    nights: int
    state: str


class Occupancy(BaseModel):
    day: date
    booked_rooms: int


class Amenity(BaseModel):
    code: str
    label: str


public = APIRouter(prefix="/public")
office = APIRouter(prefix="/office", dependencies=[staff])


@public.get("/hotels", response_model=list[Hotel])
def hotels(city: str | None = None): ...


@public.get("/hotels/{hotelId}", response_model=Hotel)
def hotel(hotelId: int): ...


@public.get("/hotels/{hotelId}/floors/{floor}/rooms", response_model=list[Room])
def rooms(hotelId: int, floor: Floor): ...


@public.get("/hotels/{hotelId}/rooms/{number}/availability", response_model=list[Slot])
def availability(hotelId: int, number: int, month: str): ...


@public.get("/amenities", response_model=list[Amenity])
def amenities(): ...


@public.post("/bookings", response_model=Booking, status_code=201)
def book(booking: Booking): ...


@public.get("/bookings/{reference}", response_model=Booking, dependencies=[partner])
def lookup(reference: str): ...


@office.put("/hotels/{hotelId}", response_model=Hotel)
def change_hotel(hotelId: int): ...


@office.put("/hotels/{hotelId}/rooms/{number}", response_model=Room)
def change_room(hotelId: int, number: int): ...


@office.get("/bookings", response_model=list[Booking])
def bookings(day: date | None = None): ...


@office.get("/bookings/{reference}", response_model=Booking)
def booking(reference: str): ...


@office.patch("/bookings/{reference}", response_model=Booking)
def change_booking(reference: str): ...


@office.post("/bookings/{reference}/check-in", response_model=Booking)
def check_in(reference: str): ...


@office.delete("/bookings/{reference}", status_code=204)
def cancel(reference: str): ...


@office.get("/guests", response_model=list[Guest])
def guests(): ...


@office.get("/guests/{guest_id}", response_model=Guest)
def guest(guest_id: int): ...


@office.put("/guests/{guest_id}", response_model=Guest)
def change_guest(guest_id: int): ...


@office.post("/guests/merge")
def merge(keep: int, drop: int): ...


@office.get("/guests/{guest_id}/history", response_model=list[Booking])
def history(guest_id: int): ...


@office.get("/occupancy", response_model=list[Occupancy])
def occupancy(): ...


@office.get("/reports/monthly.xlsx", responses={200: {"content": {"application/vnd.ms-excel": {}}}})
def monthly(): ...


app.include_router(public)
app.include_router(office)
