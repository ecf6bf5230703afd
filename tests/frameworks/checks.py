"""What the applications here share: arguments, and questions to the pool's administrative port.

An application is started with host, port, user, password, database, administrative port. After each phase it says what
is held, and a stranger with other settings gets the connection, of which the pool has only one: if the application kept
it, the stranger would wait in vain.
"""

import sys

import pymysql

HOST, PORT, USER, PASSWORD, DATABASE, ADMIN_PORT = sys.argv[1:7]
PORT, ADMIN_PORT = int(PORT), int(ADMIN_PORT)


def ask(port, *statements):
    connection = pymysql.connect(host=HOST, port=port, user=USER, password=PASSWORD, autocommit=True)
    try:
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchall()
    finally:
        connection.close()


def held():
    reasons = [row[0] for row in ask(ADMIN_PORT, "SELECT Reason FROM held")]
    return " ".join(sorted(reasons)) or "nobody"


def phase(name):
    """The application is between two pieces of its work."""
    print(f"{name}: {held()}", flush=True)
    answer = ask(PORT, "SET time_zone = '+09:00', sql_mode = 'ANSI'", "SELECT @@time_zone")
    assert answer == (("+09:00",),), answer


def within(name):
    """The application is in the middle of something."""
    print(f"{name}: {held()}", flush=True)
