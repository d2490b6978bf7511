"""Group-relative policy optimisation of language models, with rewards that a verifier gives."""
