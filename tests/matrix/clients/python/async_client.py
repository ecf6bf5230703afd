"""aiomysql or asyncmy, which is the argument."""
import asyncio
import importlib
import ssl
import sys
from importlib.metadata import version

import jobs

MODULE = importlib.import_module(sys.argv[1])
LOOP = asyncio.new_event_loop()
asyncio.set_event_loop(LOOP)


class Sync:
    """A cursor whose methods are synchronous."""

    def __init__(self, cursor):
        self.cursor = cursor

    def __getattr__(self, name):
        found = getattr(self.cursor, name)
        if not callable(found):
            return found
        return lambda *a: wait(found(*a))


async def awaited(result):
    return await result


def wait(result):
    return LOOP.run_until_complete(awaited(result)) if hasattr(result, "__await__") else result


class Connection:
    def __init__(self, conn):
        self.conn = conn

    def cursor(self):
        cursor = self.conn.cursor()
        if hasattr(cursor, "__await__"):
            cursor = wait(cursor)
        return Sync(cursor)

    def close(self):
        self.conn.close()


class Async(jobs.DbApi):
    name = f"{sys.argv[1]} {version(sys.argv[1])}"

    def connect(self, job):
        if job["compression"] != "none":
            raise jobs.Unsupported("compression")
        options = dict(
            user=job["user"], password=job["password"], db=job["database"], charset="utf8mb4",
            local_infile=True, client_flag=1 << 16, connect_timeout=20, autocommit=True,
        )
        if job.get("socket"):
            options["unix_socket"] = job["socket"]
        else:
            options.update(host=job["host"], port=job["port"])
        if job["tls"] != "off":
            context = ssl.create_default_context(cafile=job["ca"])
            context.check_hostname = False
            if job["tls"] == "required":
                context.verify_mode = ssl.CERT_NONE
            options["ssl"] = context
        return Connection(wait(MODULE.connect(**options)))

    def ping(self, conn, step):
        return wait(conn.conn.ping(reconnect=False)) and None

    def init_db(self, conn, step):
        return wait(conn.conn.select_db(step["db"])) and None


jobs.main(Async())
