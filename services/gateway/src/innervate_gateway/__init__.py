"""The gateway of an inference pool: routes, admission, traffic, and the exchange log."""
