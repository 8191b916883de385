"""A shop: products by sku, carts, orders and their lines, reviews; camelCase, no tags, admin beside the public part."""

from decimal import Decimal
from enum import Enum

from fastapi import Cookie, Depends, FastAPI, Header
from fastapi.security import HTTPBearer
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

app = FastAPI(title="Shop", version="1.0", openapi_url="/api/v1/openapi.json", generate_unique_id_function=lambda r: r.name)
bearer = Depends(HTTPBearer())


class Camel(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class Category(Camel):
    slug: str
    name: str


class Product(Camel):
    sku: str
    name: str
    price: Decimal
    category: Category
    average_rating: float | None


class ProductList(Camel):
    data: list[Product]
    next_cursor: str | None


class Review(Camel):
    id: int
    product_sku: str
    stars: int
    text: str


class OrderStatus(str, Enum):
    pending = "pending"
    paid = "paid"
    shipped = "shipped"
    cancelled = "cancelled"


class LineItem(Camel):
    id: int
    product: Product
    quantity: int


class Order(Camel):
    id: int
    status: OrderStatus
    line_items: list[LineItem]
    total: Decimal


class Cart(Camel):
    items: list[LineItem]
    total: Decimal


class Sales(Camel):
    revenue: Decimal
    order_count: int
    best_products: list[Product]


@app.get("/api/v1/products", response_model=ProductList)
def list_products(category: str | None = None, cursor: str | None = None, x_currency: str = Header("EUR")): ...


@app.post("/api/v1/products", response_model=Product, status_code=201, dependencies=[bearer])
def create_product(product: Product): ...


@app.get("/api/v1/products/{sku}", response_model=Product)
def read_product(sku: str, x_currency: str = Header("EUR")): ...


@app.put("/api/v1/products/{sku}", response_model=Product, dependencies=[bearer])
def update_product(sku: str, product: Product): ...


@app.delete("/api/v1/products/{sku}", status_code=204, dependencies=[bearer])
def delete_product(sku: str): ...


@app.get("/api/v1/products/{sku}/reviews", response_model=list[Review])
def list_reviews(sku: str): ...


@app.post("/api/v1/products/{sku}/reviews", response_model=Review, status_code=201, dependencies=[bearer])
def review(sku: str, text: Review): ...


@app.get("/api/v1/categories", response_model=list[Category])
def categories(): ...


@app.get("/api/v1/categories/{slug}/products", response_model=ProductList)
def of_category(slug: str): ...


@app.get("/api/v1/search/suggestions", response_model=list[str])
def suggest(q: str): ...


@app.get("/api/v1/cart", response_model=Cart)
def cart(session_id: str = Cookie()): ...


@app.post("/api/v1/cart/items", response_model=Cart)
def add_to_cart(item: LineItem, session_id: str = Cookie()): ...


@app.delete("/api/v1/cart/items/{itemId}", response_model=Cart)
def remove_from_cart(itemId: int, session_id: str = Cookie()): ...


@app.get("/api/v1/orders", response_model=list[Order], dependencies=[bearer])
def orders(): ...


@app.post("/api/v1/orders", response_model=Order, status_code=201, dependencies=[bearer])
def order(): ...


@app.get("/api/v1/orders/{orderId}", response_model=Order, dependencies=[bearer])
def read_order(orderId: int): ...


@app.post("/api/v1/orders/{orderId}/cancel", response_model=Order, dependencies=[bearer])
def cancel(orderId: int): ...


@app.get("/api/v1/orders/{orderId}/invoice.pdf", dependencies=[bearer], responses={200: {"content": {"application/pdf": {}}}})
def invoice(orderId: int): ...


@app.get("/api/v1/admin/sales/summary", response_model=Sales, dependencies=[bearer])
def sales(): ...


@app.get("/api/v1/countries", response_model=list[str])
def countries(): ...
