# file: src/app/infrastructure/violation_one.py
from app.infrastructure import violation_two

# file: src/app/infrastructure/violation_two.py
from app.infrastructure import violation_one
