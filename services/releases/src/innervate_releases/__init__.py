"""Model releases: content-addressed blobs, manifests, signatures, and what fetches and verifies them."""
