import json
import logging
import os

import redis
from sqlalchemy import event
from sqlalchemy.orm import Session

larder = redis.Redis.from_url(os.environ["REDIS_URL"], socket_timeout=1)


@event.listens_for(Session, "after_flush")
def note(session, _):
    changed = session.info.setdefault("changed", {})
    for row in [*session.new, *session.dirty, *session.deleted]:
        changed[row.__tablename__, row.id] = True


@event.listens_for(Session, "after_commit")
def tell(session):
    if session.in_nested_transaction():
        return  # a savepoint: nothing is committed yet
    for table, id in session.info.pop("changed", {}):
        message = json.dumps({"type": f"{table}.changed", "data": {"id": id}})
        try:
            if larder.publish("cache:invalidate", message) == 0:
                logging.warning("no Larder heard %s", message)
        except redis.RedisError:  # it is committed all the same, and to Larder a time without Redis is a gap
            logging.exception("Larder was not told %s", message)


@event.listens_for(Session, "after_rollback")
def forget(session):
    if not session.in_nested_transaction():
        session.info.pop("changed", None)
