# file: src/app/services/violation.py
from sqlalchemy.ext import asyncio as sa
from sqlalchemy.ext.asyncio import async_sessionmaker

make = async_sessionmaker

sessions = async_sessionmaker()  # caught
more = make(expire_on_commit=True)  # caught
others = sa.async_sessionmaker()  # caught
