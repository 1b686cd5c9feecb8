"""Python ONNX Runtime under FastAPI: one text per run, in FastAPI's thread pool.

    PEER_MODEL=DIR PEER_GRAPH=FILE PEER_THREADS=1 python -m uvicorn --app-dir bench/peers onnxruntime_fastapi:app
"""

from fastapi import FastAPI
from pydantic import BaseModel
from tagging import Tagger


class Request(BaseModel):
    text: str


class Word(BaseModel):
    text: str
    start: int
    end: int
    label: str
    score: float


class Entity(BaseModel):
    type: str
    text: str
    start: int
    end: int
    score: float
    words: tuple[int, int]


class Answer(BaseModel):
    entities: list[Entity]
    words: list[Word]


app = FastAPI()
tagger = Tagger.from_environment()


@app.get("/health")
def health():
    return {"ready": True}


@app.post("/ner")
def ner(request: Request) -> Answer:
    return tagger.tag([request.text])[0]
