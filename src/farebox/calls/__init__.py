"""The record: asked, answered, charged."""
