"""A Django application: it connects, handles what could be requests, and uses a transaction."""

import checks
import django
from django.conf import settings

settings.configure(
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.mysql", "HOST": checks.HOST, "PORT": checks.PORT, "USER": checks.USER,
            "PASSWORD": checks.PASSWORD, "NAME": checks.DATABASE, "CONN_MAX_AGE": None,
        }
    },
    USE_TZ=True,
    TIME_ZONE="Europe/Berlin",
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
)
django.setup()

from django.db import connection, models, transaction  # noqa: E402 (it needs the settings)


class Item(models.Model):
    name = models.CharField(max_length=20, unique=True)
    price = models.DecimalField(max_digits=8, decimal_places=2)
    made = models.DateTimeField(auto_now_add=True)

    class Meta:
        app_label = "shop"
        db_table = "django_item"


connection.ensure_connection()
checks.phase("connected")
with connection.schema_editor() as editor:
    editor.create_model(Item)
checks.phase("migrated")

for number in range(5):
    item = Item.objects.create(name=f"item {number}", price=number)
    assert item.pk == number + 1, "LAST_INSERT_ID() is the application's own"
    checks.phase(f"created {number}")
assert Item.objects.filter(price__gt=2).count() == 2
Item.objects.filter(price__lt=2).update(price=7)
item, is_new = Item.objects.get_or_create(name="item 0", defaults={"price": 1})
assert not is_new and item.price == 7
Item.objects.bulk_create([Item(name=f"more {number}", price=1) for number in range(3)])
assert [each.name for each in Item.objects.order_by("-pk")[:2]] == ["more 2", "more 1"]
checks.phase("requests")

with transaction.atomic():
    locked = Item.objects.select_for_update().get(name="item 3")
    locked.price = 30
    locked.save()
    checks.phase("transaction")
checks.phase("committed")
assert Item.objects.get(name="item 3").price == 30
try:
    with transaction.atomic():
        Item.objects.create(name="item 3", price=1)
except django.db.IntegrityError:
    pass
checks.phase("rolled back")
