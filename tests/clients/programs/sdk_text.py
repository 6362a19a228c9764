"""Completions, embeddings and models with the OpenAI SDK; runs on 1.x, 2.x and 3.x unchanged."""

from openai import AsyncOpenAI, OpenAI


def whole(answer):
    return answer.model_dump(mode="json") | {"request_id": answer._request_id}


def completion(model, prompt, **params):
    with OpenAI() as client:
        return whole(client.completions.create(model=model, prompt=prompt, **params))


def completion_stream(model, prompt, **params):
    with OpenAI() as client, client.completions.create(model=model, prompt=prompt, stream=True, **params) as answer:
        chunks = [chunk.model_dump(mode="json") for chunk in answer]
        return {"chunks": chunks, "request_id": answer.response.headers["x-request-id"]}


def embeddings(model, **params):
    with OpenAI() as client:
        answer = client.embeddings.create(model=model, **params)
        rows = [{"index": row.index, "object": row.object, "vector": row.embedding} for row in answer.data]
        return {
            "rows": rows,
            "model": answer.model,
            "usage": answer.usage.model_dump(),
            "request_id": answer._request_id,
        }


async def embeddings_async(model, **params):
    async with AsyncOpenAI() as client:
        answer = await client.embeddings.create(model=model, **params)
        return {"vectors": [row.embedding for row in answer.data]}


def models():
    with OpenAI() as client:
        return [model.model_dump(mode="json") for model in client.models.list()]


def model(name):
    with OpenAI() as client:
        return client.models.retrieve(name).model_dump(mode="json")
