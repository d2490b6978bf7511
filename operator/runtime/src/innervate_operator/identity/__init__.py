"""The identity authority: signs a workload's key once its service account is proven.

`authority` decides and signs, `server` serves it. Who a token is of is asked from outside.
"""
