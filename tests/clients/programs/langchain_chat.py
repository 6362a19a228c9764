"""Chat with LangChain's ChatOpenAI; runs on langchain-openai 0.3 and 1.x unchanged."""

import importlib.metadata

import seen
from langchain_core.callbacks import UsageMetadataCallbackHandler
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, Field


class Weather(BaseModel):
    """The weather of a city."""

    city: str = Field(description="Its name")
    degrees: int
    windy: bool


@tool
def weather(city: str) -> str:
    """Look up the weather of a city."""
    return f"12 degrees in {city}"


@tool
def tides(harbour: str) -> str:
    """Look up the tides of a harbour."""
    return f"High water in {harbour}"


def version():
    return importlib.metadata.version("langchain-openai")


def shown(message):
    return {
        "class": type(message).__name__,
        "content": message.content,
        "usage": message.usage_metadata,
        "meta": {name: value for name, value in message.response_metadata.items() if name != "headers"},
        "headers": dict(message.response_metadata.get("headers", {})),
        "tool_calls": message.tool_calls,
        "id": message.id,
    }


def invoke(model, text, system=None, **params):
    said = [SystemMessage(system)] if system else []
    return shown(ChatOpenAI(model=model, include_response_headers=True, **params).invoke([*said, HumanMessage(text)]))


def invoke_parts(model, parts):
    return shown(ChatOpenAI(model=model).invoke([HumanMessage(parts)]))


def _joined(chunks):
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    return {
        "pieces": [chunk.content for chunk in chunks],
        "usages": [chunk.usage_metadata for chunk in chunks],
        "joined": shown(whole),
    }


def stream(model, text, **params):
    chunks = []
    for chunk in ChatOpenAI(model=model, **params).stream(text):
        chunks.append(chunk)
        seen.note(chunk.content)
    return _joined(chunks)


async def stream_async(model, text, **params):
    return _joined([chunk async for chunk in ChatOpenAI(model=model, **params).astream(text)])


async def batch_async(model, texts):
    return [message.content for message in await ChatOpenAI(model=model).abatch(texts)]


def counted(model, text):
    """What the usage callback has counted over a stream and a call, by model."""
    counter = UsageMetadataCallbackHandler()
    chat = ChatOpenAI(model=model, stream_usage=True)
    for _ in chat.stream(text, config={"callbacks": [counter]}):
        pass
    chat.invoke(text, config={"callbacks": [counter]})
    return counter.usage_metadata


def stream_tools(model, text, **params):
    chat = ChatOpenAI(model=model, stream_usage=True).bind_tools([weather, tides], **params)
    return _joined(list(chat.stream(text)))


def tool_trip(model, text):
    """Ask, carry out the calls of tools, tell the results, and hear the answer."""
    chat = ChatOpenAI(model=model).bind_tools([weather, tides])
    said = [HumanMessage(text)]
    first = chat.invoke(said)
    said.append(first)
    known = {"weather": weather, "tides": tides}
    said += [
        ToolMessage(known[call["name"]].invoke(call["args"]), tool_call_id=call["id"]) for call in first.tool_calls
    ]
    second = chat.invoke(said)
    assert isinstance(second, AIMessage)
    return {"first": shown(first), "second": shown(second)}


def structured(model, text, method):
    answer = ChatOpenAI(model=model).with_structured_output(Weather, method=method).invoke(text)
    return {"class": type(answer).__name__, "fields": answer.model_dump()}
