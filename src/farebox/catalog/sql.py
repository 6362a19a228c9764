"""SQL of the catalog that runs beside calls; only this room reads it."""

from __future__ import annotations

COUNTS_OF_SAMPLE = (
    "account", "messages", "images", "reported_input", "reported_output", "hidden", "input_bytes", "output_bytes",
    "bound", "own_input", "own_output", "trusted",
)  # fmt: skip

ADD_SAMPLE = f"""
INSERT INTO catalog_sample (model, at_us, input_vector, output_vector, {", ".join(COUNTS_OF_SAMPLE)})
VALUES ({", ".join(["%s"] * (4 + len(COUNTS_OF_SAMPLE)))})
"""

# Where there are fewer the inner one finds nothing, and nothing is deleted.
FORGET_SAMPLES_OF_ACCOUNT = """
DELETE FROM catalog_sample WHERE model = %s AND account = %s AND id <=
 (SELECT id FROM catalog_sample WHERE model = %s AND account = %s ORDER BY id DESC LIMIT 1 OFFSET %s)
"""

FORGET_SAMPLES_OF_MODEL = """
DELETE FROM catalog_sample WHERE model = %s AND id <=
 (SELECT id FROM catalog_sample WHERE model = %s ORDER BY id DESC LIMIT 1 OFFSET %s)
"""
