"""What the applications in Python share: their arguments, and how they tell the test where they are.

An application is started with host, port, user, password and database. In each phase it says its name and waits for a
line: meanwhile the test looks who is held, and a stranger with other settings takes the connection, of which the pool
has only one.
"""

import sys

HOST, PORT, USER, PASSWORD, DATABASE = sys.argv[1:6]
PORT = int(PORT)


def phase(name):
    print(name, flush=True)
    sys.stdin.readline()
