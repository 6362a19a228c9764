// Carries out steps with openai-node, one JSON line in and one out, as worker.py does for Python.
//
// In:  {"step": "name", "environ": {...}, "given": {...}}
// Out: {"shown": what the step returned} or {"raised": facts of the error}

import { createInterface } from 'node:readline';

const { default: OpenAI } = await import(process.argv[2]);

const client = (environ) =>
  new OpenAI({ baseURL: environ.OPENAI_BASE_URL, apiKey: environ.OPENAI_API_KEY, maxRetries: 0 });

const STEPS = {
  // The SDK puts the stream together itself, and checks what it has at the end.
  async accumulated(environ, given) {
    const kinds = new Set();
    const running = client(environ).chat.completions.stream(given);
    for (const name of ['content', 'chunk', 'finalMessage', 'functionToolCall', 'tool_calls.function.arguments.done'])
      running.on(name, () => kinds.add(name));
    return { final: await running.finalChatCompletion(), kinds: [...kinds] };
  },
  // The same where it parses the arguments of tools itself, which makes it strict about who a tool call is.
  async parsing(environ, { tool, ...given }) {
    const parsed = { type: 'function', function: { name: tool, parameters: {} } };
    Object.defineProperties(parsed, {
      $brand: { value: 'auto-parseable-tool', enumerable: false },
      $parseRaw: { value: JSON.parse, enumerable: false },
      $callback: { value: undefined, enumerable: false },
    });
    const running = client(environ).chat.completions.stream({ ...given, tools: [parsed] });
    return { final: await running.finalChatCompletion() };
  },
};

const facts = (fault) => ({
  class: fault?.constructor?.name,
  words: String(fault?.message ?? fault),
  status: fault?.status ?? null,
  code: fault?.code ?? null,
  trace: String(fault?.stack ?? fault),
});

for await (const line of createInterface({ input: process.stdin })) {
  const { step, environ, given } = JSON.parse(line);
  let answer;
  try {
    answer = { shown: await STEPS[step](environ, given) };
  } catch (fault) {
    answer = { raised: facts(fault) };
  }
  process.stdout.write(JSON.stringify(answer) + '\n');
}
