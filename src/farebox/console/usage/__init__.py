"""Pages of usage: totals, the request log with its receipts and exports, monthly statements."""
