"""Answers of a language model: conversations and messages, streams, knowledge bases, POSTs that only read."""

from fastapi import Depends, FastAPI
from fastapi.responses import StreamingResponse
from fastapi.security import HTTPBearer
from pydantic import BaseModel

app = FastAPI(title="Assistant", version="2024-11", generate_unique_id_function=lambda route: f"{route.name}_{len(route.path)}")
key = Depends(HTTPBearer())


class Source(BaseModel):
    document_id: str
    score: float


class Answer(BaseModel):
    text: str
    sources: list[Source]


class Question(BaseModel):
    question: str
    knowledge_base_id: str


class Message(BaseModel):
    id: str
    role: str
    content: str


class Conversation(BaseModel):
    id: str
    title: str
    messages: list[Message]


class ConversationSummary(BaseModel):
    id: str
    title: str
    message_count: int


class Document(BaseModel):
    id: str
    name: str
    chunk_count: int


class KnowledgeBase(BaseModel):
    id: str
    name: str
    documents: list[Document]


class Model(BaseModel):
    id: str
    context: int


@app.get("/v1/models", response_model=list[Model])
def models(): ...


@app.post("/v1/answers", response_model=Answer, dependencies=[key])
def answer(question: Question): ...


@app.post("/v1/embeddings", dependencies=[key])
def embeddings(texts: list[str]): ...


@app.post("/v1/chat/completions", response_class=StreamingResponse, dependencies=[key])
def completions(): ...


@app.get("/v1/conversations", response_model=list[ConversationSummary], dependencies=[key])
def conversations(): ...


@app.post("/v1/conversations", response_model=Conversation, dependencies=[key])
def begin(): ...


@app.get("/v1/conversations/{conversation_id}", response_model=Conversation, dependencies=[key])
def conversation(conversation_id: str): ...


@app.delete("/v1/conversations/{conversation_id}", dependencies=[key])
def forget(conversation_id: str): ...


@app.post("/v1/conversations/{conversation_id}/messages", response_model=Message, dependencies=[key])
def say(conversation_id: str): ...


@app.get("/v1/conversations/{conversation_id}/stream", response_class=StreamingResponse, dependencies=[key])
def stream(conversation_id: str): ...


@app.get("/v1/knowledge-bases", response_model=list[KnowledgeBase], dependencies=[key])
def bases(): ...


@app.get("/v1/knowledge-bases/{kb_id}", response_model=KnowledgeBase, dependencies=[key])
def base(kb_id: str): ...


@app.post("/v1/knowledge-bases/{kb_id}/documents", response_model=Document, dependencies=[key])
def add(kb_id: str): ...


@app.delete("/v1/knowledge-bases/{kb_id}/documents/{document_id}", dependencies=[key])
def take_out(kb_id: str, document_id: str): ...


@app.post("/v1/knowledge-bases/{kb_id}/search", response_model=list[Source], dependencies=[key])
def search(kb_id: str): ...


@app.post("/v1/knowledge-bases/{kb_id}/reindex", status_code=202, dependencies=[key])
def reindex(kb_id: str): ...


@app.get("/v1/usage", dependencies=[key])
def usage(): ...
