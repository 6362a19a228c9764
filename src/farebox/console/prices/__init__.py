"""Pages of prices: the price list, a model's price over time, the estimator."""
