# file: src/app/services/violation.py
from sqlalchemy.orm import Session  # caught
