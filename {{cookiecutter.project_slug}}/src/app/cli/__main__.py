"""`python -m app.cli`, for where the program `app` is not installed."""

from app.cli import main

if __name__ == "__main__":
    main()
