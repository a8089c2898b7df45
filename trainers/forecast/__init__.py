"""forecast: the parts of the forecasting policies."""
