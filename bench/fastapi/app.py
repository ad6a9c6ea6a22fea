"""The endpoints that are measured, as a team would write them with FastAPI, SQLAlchemy and Redis: the same tables (zapora makes
them), the same work for each request, connections to everything kept open, uvloop and httptools."""

import hashlib
import json
import os
import time
import uuid
from contextlib import asynccontextmanager
from typing import Annotated

import bcrypt
import jwt
import redis.asyncio as redis
from fastapi import Depends, FastAPI, Header, HTTPException, Query, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import BigInteger, Text, select, update
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from starlette.concurrency import run_in_threadpool

KEY = os.environ["JWT_SECRET"]
engine = create_async_engine(os.environ["DATABASE_URL"], pool_size=10, max_overflow=0)
sessions = async_sessionmaker(engine, expire_on_commit=False)
cache = redis.Redis.from_url(os.environ["REDIS_URL"])


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "peer_users"
    id: Mapped[str] = mapped_column(Text, primary_key=True)
    email: Mapped[str] = mapped_column(Text, unique=True)
    password_hash: Mapped[str] = mapped_column(Text)
    role: Mapped[str] = mapped_column(Text)


class Item(Base):
    __tablename__ = "peer_items"
    id: Mapped[str] = mapped_column(Text, primary_key=True)
    name: Mapped[str] = mapped_column(Text, index=True)
    description: Mapped[str] = mapped_column(Text)
    price_cents: Mapped[int] = mapped_column(BigInteger)
    stock: Mapped[int | None] = mapped_column(BigInteger)
    created_at: Mapped[int] = mapped_column(BigInteger)


class Order(Base):
    __tablename__ = "peer_orders"
    id: Mapped[str] = mapped_column(Text, primary_key=True)
    user_id: Mapped[str] = mapped_column(Text, index=True)
    state: Mapped[str] = mapped_column(Text)
    total_cents: Mapped[int] = mapped_column(BigInteger)
    tax_cents: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[int] = mapped_column(BigInteger)


class OrderLine(Base):
    __tablename__ = "peer_order_lines"
    order_id: Mapped[str] = mapped_column(Text, primary_key=True)
    item_id: Mapped[str] = mapped_column(Text, primary_key=True)
    quantity: Mapped[int] = mapped_column(BigInteger)
    price_cents: Mapped[int] = mapped_column(BigInteger)


class OrderEvent(Base):
    __tablename__ = "peer_order_events"
    id: Mapped[str] = mapped_column(Text, primary_key=True)
    order_id: Mapped[str] = mapped_column(Text, index=True)
    state: Mapped[str] = mapped_column(Text)
    at: Mapped[int] = mapped_column(BigInteger)


class IdempotencyKey(Base):
    __tablename__ = "peer_idempotency_keys"
    user_id: Mapped[str] = mapped_column(Text, primary_key=True)
    key: Mapped[str] = mapped_column(Text, primary_key=True)
    digest: Mapped[str] = mapped_column(Text)
    order_id: Mapped[str] = mapped_column(Text)


class Job(Base):
    __tablename__ = "peer_jobs"
    id: Mapped[str] = mapped_column(Text, primary_key=True)
    kind: Mapped[str] = mapped_column(Text)
    payload: Mapped[str] = mapped_column(Text)
    created_at: Mapped[int] = mapped_column(BigInteger)


@asynccontextmanager
async def lifespan(_: FastAPI):
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield


app = FastAPI(lifespan=lifespan)


async def session():
    async with sessions() as opened:
        yield opened


Session = Annotated[AsyncSession, Depends(session)]


def claims(authorization: Annotated[str, Header()]) -> dict:
    try:
        return jwt.decode(authorization.removeprefix("Bearer "), KEY, algorithms=["HS256"])
    except jwt.InvalidTokenError as error:
        raise HTTPException(401, str(error)) from error


Claims = Annotated[dict, Depends(claims)]


class Credentials(BaseModel):
    model_config = ConfigDict(extra="forbid")
    email: str = Field(max_length=254)
    password: str = Field(max_length=72)


class Token(BaseModel):
    access_token: str
    token_type: str = "Bearer"


class MenuItem(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    id: str
    name: str
    description: str
    price_cents: int
    currency: str = "EUR"


class Menu(BaseModel):
    items: list[MenuItem]


class Line(BaseModel):
    model_config = ConfigDict(extra="forbid")
    item_id: str
    quantity: int = Field(ge=1, le=1000)


class Wish(BaseModel):
    model_config = ConfigDict(extra="forbid")
    items: list[Line] = Field(min_length=1, max_length=200)


class Placed(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    id: str
    state: str
    total_cents: int
    tax_cents: int


@app.get("/ready")
async def ready():
    return {"status": "ok"}


@app.post("/setup")
async def setup(cost: int, opened: Session):
    """One account and a menu of fifty, for the measurement."""
    digest = bcrypt.hashpw(b"correct horse battery", bcrypt.gensalt(cost)).decode()
    opened.add(User(id=str(uuid.uuid4()), email="ann@example.com", password_hash=digest, role="customer"))
    for number in range(50):
        item = Item(id=str(uuid.uuid4()), name=f"Dish {number:02}", description="Something good, made this morning")
        item.price_cents, item.stock, item.created_at = 500 + number * 10, None, time.time_ns() // 1000
        opened.add(item)
    await opened.commit()
    return {}


@app.post("/auth/login")
async def login(credentials: Credentials, opened: Session) -> Token:
    user = await opened.scalar(select(User).where(User.email == credentials.email))
    good = user and await run_in_threadpool(
        bcrypt.checkpw, credentials.password.encode(), user.password_hash.encode()
    )
    if not good:
        raise HTTPException(401, "wrong e-mail address or password")
    family = str(uuid.uuid4())
    await cache.set(f"session:{family}", json.dumps({"user": user.id, "role": user.role}), ex=86400)
    now = int(time.time())
    token = {"sub": user.id, "role": user.role, "sid": family, "iat": now, "exp": now + 900}
    return Token(access_token=jwt.encode(token, KEY, algorithm="HS256"))


@app.get("/menu-items")
async def menu(
    response: Response,
    opened: Session,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
    q: Annotated[str | None, Query(max_length=100)] = None,
    max_price: Annotated[int | None, Query(ge=0)] = None,
):
    key = f"menu:{limit}:{max_price}:{q or ''}"
    if found := await cache.get(key):
        return Response(found, media_type="application/json")
    query = select(Item).order_by(Item.name).limit(limit)
    if q:
        query = query.where(Item.name.icontains(q))
    if max_price is not None:
        query = query.where(Item.price_cents <= max_price)
    items = (await opened.scalars(query)).all()
    body = Menu(items=[MenuItem.model_validate(item) for item in items]).model_dump_json()
    await cache.set(key, body, ex=60)
    return Response(body, media_type="application/json")


@app.post("/orders", status_code=201)
async def order(
    wish: Wish, opened: Session, claims: Claims, idempotency_key: Annotated[str, Header(max_length=128)]
) -> Placed:
    digest = hashlib.sha256(wish.model_dump_json().encode()).hexdigest()
    user, now = claims["sub"], time.time_ns() // 1000
    known = await opened.get(IdempotencyKey, (user, idempotency_key))
    if known:
        if known.digest != digest:
            raise HTTPException(422, "the key was used for another order")
        return Placed.model_validate(await opened.get(Order, known.order_id))
    wanted = {line.item_id: line.quantity for line in wish.items}
    items = (await opened.scalars(select(Item).where(Item.id.in_(wanted)))).all()
    if len(items) != len(wanted):
        raise HTTPException(422, "there is no such item")
    total = 0
    placed = Order(id=str(uuid.uuid4()), user_id=user, state="placed", created_at=now)
    for item in items:
        quantity = wanted[item.id]
        total += item.price_cents * quantity
        if item.stock is not None:
            taken = await opened.execute(
                update(Item).where(Item.id == item.id, Item.stock >= quantity).values(stock=Item.stock - quantity)
            )
            if taken.rowcount == 0:
                raise HTTPException(409, "there are not so many left")
        opened.add(OrderLine(order_id=placed.id, item_id=item.id, quantity=quantity, price_cents=item.price_cents))
    placed.total_cents, placed.tax_cents = total, total - round(total / 1.1)
    opened.add(placed)
    opened.add(OrderEvent(id=str(uuid.uuid4()), order_id=placed.id, state="placed", at=now))
    opened.add(IdempotencyKey(user_id=user, key=idempotency_key, digest=digest, order_id=placed.id))
    opened.add(Job(id=str(uuid.uuid4()), kind="authorise", payload=json.dumps({"order": placed.id}), created_at=now))
    await opened.commit()
    return Placed.model_validate(placed)
