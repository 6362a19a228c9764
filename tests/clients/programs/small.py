"""A small real model through the OpenAI SDK and LangChain."""

from langchain_openai import ChatOpenAI, OpenAI
from sdk_chat import plain, stream
from sdk_text import completion, embeddings

__all__ = ["completion", "embeddings", "plain", "stream"]


def langchain(model, text, **params):
    message = ChatOpenAI(model=model, temperature=0, **params).invoke(text)
    return {"content": message.content, "usage": message.usage_metadata, "meta": message.response_metadata}


async def langchain_stream(model, text, **params):
    whole = None
    pieces = []
    async for chunk in ChatOpenAI(model=model, temperature=0, stream_usage=True, **params).astream(text):
        pieces.append(chunk.content)
        whole = chunk if whole is None else whole + chunk
    return {"pieces": pieces, "usage": whole.usage_metadata, "meta": whole.response_metadata}


def langchain_completion(model, prompt, **params):
    return OpenAI(model=model, temperature=0, **params).invoke(prompt)
