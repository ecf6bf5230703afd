"""A SQLAlchemy application: it connects, handles what could be requests, and uses a transaction."""

import checks
from sqlalchemy import Column, DateTime, Integer, String, create_engine, func, select
from sqlalchemy.engine import URL
from sqlalchemy.orm import Session, declarative_base

Base = declarative_base()


class Item(Base):
    __tablename__ = "sqlalchemy_item"
    id = Column(Integer, primary_key=True)
    name = Column(String(20), unique=True)
    price = Column(Integer)
    made = Column(DateTime, server_default=func.now())


engine = create_engine(
    URL.create("mysql+mysqldb", checks.USER, checks.PASSWORD, checks.HOST, checks.PORT, checks.DATABASE),
    isolation_level="READ COMMITTED",
    pool_pre_ping=True,
    future=True,
)
with engine.connect() as connection:
    assert connection.execute(select(1)).scalar() == 1
checks.phase("connected")
Base.metadata.create_all(engine)
checks.phase("migrated")

for number in range(5):
    with Session(engine) as session, session.begin():
        item = Item(name=f"item {number}", price=number)
        session.add(item)
        session.flush()
        assert item.id == number + 1, "LAST_INSERT_ID() is the application's own"
    checks.phase(f"created {number}")
with Session(engine) as session:
    assert session.scalar(select(func.count()).where(Item.price > 2)) == 2
    checks.phase("reading")
checks.phase("read")

with Session(engine) as session, session.begin():
    item = session.execute(select(Item).where(Item.name == "item 3").with_for_update()).scalar_one()
    item.price = 30
    session.flush()
    checks.phase("transaction")
checks.phase("committed")
with Session(engine) as session:
    assert session.execute(select(Item.price).where(Item.name == "item 3")).scalar_one() == 30
checks.phase("requests")
