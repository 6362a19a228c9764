"""Chat completions with the OpenAI SDK; runs on 1.x, 2.x and 3.x unchanged."""

import openai
import seen
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel


class Weather(BaseModel):
    """What the structured answers hold."""

    city: str
    degrees: int
    windy: bool


def tool(name, *required):
    """A function tool with these required texts."""
    parameters = {
        "type": "object",
        "properties": {one: {"type": "string"} for one in required},
        "required": list(required),
        "additionalProperties": False,
    }
    return {"type": "function", "function": {"name": name, "description": name, "parameters": parameters}}


def version():
    return openai.__version__


def said(text):
    return [{"role": "user", "content": text}]


def whole(answer):
    return answer.model_dump(mode="json") | {"request_id": answer._request_id}


def plain(model, messages, retries=2, **params):
    with OpenAI(max_retries=retries) as client:
        return whole(client.chat.completions.create(model=model, messages=messages, **params))


async def plain_async(model, messages, **params):
    async with AsyncOpenAI() as client:
        return whole(await client.chat.completions.create(model=model, messages=messages, **params))


def headers(model, messages, **params):
    with OpenAI() as client:
        raw = client.chat.completions.with_raw_response.create(model=model, messages=messages, **params)
        return {"headers": dict(raw.headers), "text": raw.parse().choices[0].message.content}


def stream(model, messages, retries=2, **params):
    with OpenAI(max_retries=retries) as client:
        chunks = []
        with client.chat.completions.create(model=model, messages=messages, stream=True, **params) as answer:
            for chunk in answer:
                for choice in chunk.choices:
                    if choice.delta.content:
                        seen.note(choice.delta.content)
                chunks.append(chunk.model_dump(mode="json"))
            return {"chunks": chunks, "request_id": answer.response.headers["x-request-id"]}


async def stream_async(model, messages, **params):
    async with AsyncOpenAI() as client:
        answer = await client.chat.completions.create(model=model, messages=messages, stream=True, **params)
        return {"chunks": [chunk.model_dump(mode="json") async for chunk in answer]}


def accumulated(model, messages, retries=2, **params):
    """The SDK puts the stream together itself, with its own events."""
    with (
        OpenAI(max_retries=retries) as client,
        client.chat.completions.stream(model=model, messages=messages, **params) as events,
    ):
        kinds = [event.type for event in events]
        return {"kinds": kinds, "final": events.get_final_completion().model_dump(mode="json")}


def accumulated_form(model, messages):
    """The same with an answer in a schema."""
    with OpenAI() as client:
        with client.chat.completions.stream(model=model, messages=messages, response_format=Weather) as events:
            for _ in events:
                pass
            return events.get_final_completion().choices[0].message.parsed.model_dump()


def parsed(model, messages):
    with OpenAI() as client:
        answer = client.chat.completions.parse(model=model, messages=messages, response_format=Weather)
        message = answer.choices[0].message
        return {
            "content": message.content,
            "parsed": message.parsed.model_dump(),
            "class": type(message.parsed).__name__,
        }


def tool_trip(model, text, result):
    """Ask, carry out the call of the tool, tell its result, and hear the answer."""
    tools = [tool("weather", "city")]
    messages = said(text)
    with OpenAI() as client:
        first = client.chat.completions.create(model=model, messages=messages, tools=tools)
        call = first.choices[0].message.tool_calls[0]
        messages.append(first.choices[0].message)
        messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
        second = client.chat.completions.create(model=model, messages=messages, tools=tools)
        return {"first": whole(first), "second": whole(second)}


def while_streaming(model, long, short, retries):
    """A call while a stream holds the money: what the second one is answered."""
    with OpenAI(max_retries=retries) as client:
        with client.chat.completions.create(model=model, messages=said(long), stream=True) as running:
            next(iter(running))
            answer = client.chat.completions.create(model=model, messages=said(short), max_tokens=16)
            return whole(answer)


def image(model, prompt):
    with OpenAI() as client:
        return client.images.generate(model=model, prompt=prompt).model_dump()


def response(model, text):
    with OpenAI() as client:
        return client.responses.create(model=model, input=text).model_dump()
