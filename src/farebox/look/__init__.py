"""The look of every page: one stylesheet, the parts, charts, words for money and time, the two languages."""
