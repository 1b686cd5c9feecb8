"""The `transformers` token-classification pipeline under FastAPI, in FastAPI's thread pool.

    PEER_MODEL=DIR PEER_THREADS=1 python -m uvicorn --app-dir bench/peers pipeline_fastapi:app
"""

import os

import torch
from fastapi import FastAPI
from pydantic import BaseModel
from transformers import pipeline

if threads := int(os.environ.get("PEER_THREADS", "0")):
    torch.set_num_threads(threads)
tagger = pipeline("token-classification", model=os.environ["PEER_MODEL"], aggregation_strategy="first", device="cpu")


class Request(BaseModel):
    text: str


class Entity(BaseModel):
    type: str
    text: str
    start: int
    end: int
    score: float


class Answer(BaseModel):
    entities: list[Entity]


app = FastAPI()


@app.get("/health")
def health():
    return {"ready": True}


@app.post("/ner")
def ner(request: Request) -> Answer:
    found = tagger(request.text)
    return Answer(
        entities=[
            Entity(
                type=entity["entity_group"],
                text=request.text[entity["start"] : entity["end"]],
                start=entity["start"],
                end=entity["end"],
                score=float(entity["score"]),
            )
            for entity in found
        ]
    )
