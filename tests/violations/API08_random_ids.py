# file: src/app/core/ids.py
from uuid import uuid4 as new_id
