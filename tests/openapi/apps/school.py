"""A school: courses, lessons, enrolments, grades, quizzes; no operation ids, a version in the path, tokens in a custom header."""

from fastapi import APIRouter, FastAPI, Header, Response
from pydantic import BaseModel

app = FastAPI(title="School", version="0.1")


class Teacher(BaseModel):
    id: int
    name: str


class Lesson(BaseModel):
    id: int
    course_id: int
    title: str


class CourseBrief(BaseModel):
    id: int
    title: str
    teacher: Teacher


class CourseDetail(CourseBrief):
    lessons: list[Lesson]
    enrolled: int


class Enrolment(BaseModel):
    id: int
    course: CourseBrief
    student_id: int


class Grade(BaseModel):
    id: int
    student_id: int
    course_id: int
    mark: float


class Progress(BaseModel):
    course_id: int
    lessons_done: int


class Quiz(BaseModel):
    id: int
    lesson_id: int
    questions: list[str]


class Board(BaseModel):
    courses: list[CourseBrief]
    upcoming_lessons: list[Lesson]


v = APIRouter(prefix="/{version}/school")


@v.get("/courses")
def courses(term: str | None = None) -> list[CourseBrief]: ...


@v.post("/courses")
def new_course(course: CourseBrief, school_token: str = Header()) -> CourseDetail: ...


@v.get("/courses/{course}")
def course(course: int) -> CourseDetail: ...


@v.put("/courses/{course}")
def change_course(course: int, school_token: str = Header()) -> CourseDetail: ...


@v.delete("/courses/{course}")
def drop_course(course: int, school_token: str = Header()): ...


@v.get("/courses/{course}/lessons")
def lessons(course: int) -> list[Lesson]: ...


@v.post("/courses/{course}/lessons")
def new_lesson(course: int, school_token: str = Header()) -> Lesson: ...


@v.patch("/lessons/{lesson}")
def change_lesson(lesson: int, school_token: str = Header()) -> Lesson: ...


@v.get("/lessons/{lesson}/quiz")
def quiz(lesson: int) -> Quiz: ...


@v.put("/lessons/{lesson}/quiz")
def set_quiz(lesson: int, school_token: str = Header()) -> Quiz: ...


@v.post("/quizzes/{quiz}/check")
def check(quiz: int, answers: list[str]) -> dict: ...


@v.get("/students/{student}/enrolments")
def enrolments(student: int, school_token: str = Header()) -> list[Enrolment]: ...


@v.post("/students/{student}/enrolments")
def enrol(student: int, school_token: str = Header()) -> Enrolment: ...


@v.delete("/students/{student}/enrolments/{enrolment}")
def leave(student: int, enrolment: int, school_token: str = Header()): ...


@v.get("/students/{student}/grades")
def grades(student: int, school_token: str = Header()) -> list[Grade]: ...


@v.post("/grades")
def grade(grade: Grade, school_token: str = Header()) -> Grade: ...


@v.get("/students/{student}/progress")
def progress(student: int, school_token: str = Header()) -> list[Progress]: ...


@v.get("/students/{student}/transcript.pdf")
def transcript(student: int, school_token: str = Header()): ...


@v.get("/teachers")
def teachers() -> list[Teacher]: ...


@v.put("/teachers/{teacher}")
def change_teacher(teacher: int, school_token: str = Header()) -> Teacher: ...


@v.get("/home")
def home(school_token: str = Header()) -> Board: ...


@v.get("/timezones")
def timezones() -> list[str]: ...


@v.post("/sessions")
def sign_in(response: Response): ...


@v.delete("/sessions")
def sign_out(school_token: str = Header()): ...


app.include_router(v)
