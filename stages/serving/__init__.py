"""An HTTP server for the final language model, compatible with OpenAI's interface."""
