# file: src/app/services/violation.py
from fastapi import HTTPException
