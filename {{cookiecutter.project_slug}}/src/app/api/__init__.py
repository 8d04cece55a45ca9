"""HTTP: routes, schemas, dependencies, middleware."""
