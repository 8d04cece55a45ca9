# file: src/app/api/v1/violation.py
from app.repositories.users import UserRepository
