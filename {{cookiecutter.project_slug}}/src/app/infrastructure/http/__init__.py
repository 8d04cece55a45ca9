"""HTTP: middleware, problem responses, the OpenAPI document, streaming."""
