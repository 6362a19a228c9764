"""Completions and embeddings with LangChain; runs on langchain-openai 0.3 and 1.x unchanged."""

from langchain_openai import OpenAI, OpenAIEmbeddings


def generate(model, prompts, **params):
    found = OpenAI(model=model, **params).generate(prompts)
    return {"texts": [[made.text for made in row] for row in found.generations], "told": found.llm_output}


def stream(model, prompt):
    return list(OpenAI(model=model).stream(prompt))


async def stream_async(model, prompt):
    return [piece async for piece in OpenAI(model=model).astream(prompt)]


def embed(model, texts, **params):
    return OpenAIEmbeddings(model=model, **params).embed_documents(texts)


def embed_query(model, text):
    return OpenAIEmbeddings(model=model).embed_query(text)


async def embed_async(model, texts):
    return await OpenAIEmbeddings(model=model).aembed_documents(texts)
