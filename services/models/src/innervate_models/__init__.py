"""Small llama-architecture models: training, generation, the canonical format and GGUF."""
