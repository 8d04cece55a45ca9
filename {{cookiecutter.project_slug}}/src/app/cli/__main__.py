"""`python -m app.cli`, if the program `app` is not installed."""

from app.cli import main

if __name__ == "__main__":
    main()
