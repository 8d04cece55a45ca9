"""`python -m fastapi_senior`."""

from fastapi_senior.cli import main

main()
