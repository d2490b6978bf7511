"""What every Innervate gRPC service shares: serve(), identity, telemetry, errors."""
