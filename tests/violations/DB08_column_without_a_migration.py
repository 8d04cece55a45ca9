# file: src/app/models/__init__.py
from sqlalchemy.orm import mapped_column

from app.models.users import User

User.colour = mapped_column("colour", User.__table__.c.username.type, nullable=True)
