"""The memory service: durable records, stemmed BM25 recall, isolated spaces."""
