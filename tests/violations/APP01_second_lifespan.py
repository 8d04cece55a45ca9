# file: src/app/services/violation.py
from fastapi import APIRouter, FastAPI as Application

router = APIRouter(lifespan=print)  # caught
other = Application(lifespan=print)  # caught
