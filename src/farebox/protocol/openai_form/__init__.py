"""Answers in OpenAI's form: what may pass, the steps that tidy a choice, the reader of a stream, whole answers."""
