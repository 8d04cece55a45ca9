# file: src/app/repositories/violation.py
import sqlalchemy as sa
from sqlalchemy import select

from app.models import users
from app.models.users import User

Entity = User

statement = select(User)  # caught
other = sa.select(users.User).limit(1)  # caught
third = select(Entity)  # caught
locked = select(User).with_for_update()
