"""Innervate's gRPC interfaces: protos and the code generated from them."""
