"""What every Innervate gRPC service shares: serve(), identity, telemetry, errors.

A service's core imports `config`, `errors`, `auth` and `authorization`, which import no grpc; its
server imports `serve`, which knows everything about gRPC.
"""
