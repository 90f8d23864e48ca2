"""An app of FastAPI's: events that come when they are asked for, and a socket that says what it hears."""

import asyncio
from collections import defaultdict

from fastapi import FastAPI, Request, WebSocket, WebSocketDisconnect
from fastapi.sse import EventSourceResponse

app = FastAPI()
# By the names that listeners give themselves: what each is to be told, and whether it has left.
words = defaultdict(asyncio.Queue)
left = defaultdict(asyncio.Event)


@app.get("/seen")
async def seen(request: Request):
    return {"url": str(request.url), "headers": dict(request.headers)}


@app.get("/events/{name}", response_class=EventSourceResponse)
async def events(name: str):
    try:
        while True:
            yield {"said": await words[name].get()}
    finally:
        left[name].set()


@app.post("/say/{name}/{word}", status_code=204)
async def say(name: str, word: str):
    words[name].put_nowait(word)


@app.get("/left/{name}", status_code=204)
async def when_left(name: str):
    await left[name].wait()


@app.post("/upload")
async def upload(request: Request):
    return {"bytes": sum([len(piece) async for piece in request.stream()])}


@app.websocket("/socket")
async def socket(socket: WebSocket):
    await socket.accept(subprotocol="echo" if "echo" in socket.scope["subprotocols"] else None)
    try:
        while True:
            heard = await socket.receive()
            if heard["type"] == "websocket.disconnect":
                return
            if heard.get("text") == "leave":
                return await socket.close(4321, "as you wish")
            await socket.send({**heard, "type": "websocket.send"})
    except WebSocketDisconnect:
        pass
