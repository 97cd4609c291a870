"""The LLaMA family."""
