"""What the Python clients of the matrix share: the job protocol.

A job is one line of JSON; the answer is one line of JSON. A driver is an object with `connect(job)`
and, for each kind of step, a method of that name; what a driver does not have is "unsupported".
"""
import datetime
import decimal
import json
import sys
import zlib

LONG = 300


class Unsupported(Exception):
    """The driver does not support the step."""


def value(v):
    """A value in a form that shows its type, short enough for a transcript."""
    if v is None or isinstance(v, (bool, int)):
        return v
    if isinstance(v, (bytes, bytearray, memoryview)):
        v = bytes(v)
        return "x:" + v.hex() if len(v) <= LONG else f"x#{len(v)}:{zlib.crc32(v)}"
    if isinstance(v, str):
        data = v.encode("utf-8", "surrogateescape")
        return "s:" + v if len(data) <= LONG else f"s#{len(data)}:{zlib.crc32(data)}"
    if isinstance(v, (set, frozenset)):
        return "set:" + ",".join(sorted(map(str, v)))
    return f"{type(v).__name__}:{v}"


def rows(rows):
    shown = [[value(v) for v in row] for row in rows]
    if len(shown) > 3 and len(shown) * len(shown[0]) > 2000:
        return [f"{len(shown)} rows", zlib.crc32(json.dumps(shown).encode())]
    return shown


def columns(description):
    """Names, types, and what else the driver reports."""
    shown = [[value(v) for v in column] for column in description]
    if len(shown) > 50:
        return [f"{len(shown)} columns", zlib.crc32(json.dumps(shown).encode())]
    return shown


def parameter(p):
    """A parameter of a prepared statement as the job gives it."""
    if isinstance(p, dict):
        if "hex" in p:
            return bytes.fromhex(p["hex"])
        if "int" in p:
            return int(p["int"])
        if "decimal" in p:
            return decimal.Decimal(p["decimal"])
        if "datetime" in p:
            return datetime.datetime.fromisoformat(p["datetime"])
        if "repeat" in p:
            return p["repeat"] * p["times"]
    return p


def error(e):
    """An error as the driver reports it."""
    shown = [type(e).__name__] + [value(a) for a in e.args]
    for name in ("errno", "sqlstate"):
        if hasattr(e, name):
            shown.append(value(getattr(e, name)))
    return {"error": shown}


def big_query(step):
    return "SELECT LENGTH('" + "y" * step["n"] + "')"


def main(driver):
    print(json.dumps({"client": driver.name}), flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        answer = {}
        conn = None
        try:
            conn = driver.connect(job)
            answer["steps"] = []
        except Exception as e:
            answer.update(error(e))
        for step in job["steps"] if conn is not None else ():
            try:
                if step["op"] == "big":
                    said = driver.query(conn, {"op": "query", "sql": big_query(step)})
                elif hasattr(driver, step["op"]):
                    said = getattr(driver, step["op"])(conn, step)
                else:
                    said = "unsupported"
            except Unsupported:
                said = "unsupported"
            except Exception as e:
                said = error(e)
                driver.after_error(conn)
            answer["steps"].append(said)
        try:
            if conn is not None:
                driver.close(conn)
        except Exception:
            pass
        print(json.dumps(answer), flush=True)


class DbApi:
    """What drivers of the DB API have in common."""

    text_cursor = {}

    def after_error(self, conn):
        """Makes the connection usable again; most drivers need nothing."""

    def results(self, cursor):
        said = []
        while True:
            if cursor.description is None:
                said.append({"affected": cursor.rowcount, "id": cursor.lastrowid})
            else:
                said.append({"columns": columns(cursor.description), "rows": rows(cursor.fetchall())})
            if not cursor.nextset():
                return said

    def query(self, conn, step):
        cursor = conn.cursor(**self.text_cursor)
        said = []
        try:
            cursor.execute(step["sql"])
            while True:
                if cursor.description is None:
                    said.append({"affected": cursor.rowcount, "id": cursor.lastrowid})
                else:
                    said.append(
                        {"columns": columns(cursor.description), "rows": rows(cursor.fetchall())}
                    )
                if not cursor.nextset():
                    return said
        except Exception as e:
            # After an error in the middle the results before it are reported, too.
            said.append(error(e))
            self.after_error(conn)
            return said
        finally:
            try:
                cursor.close()
            except Exception:
                pass

    def prepare(self, conn, step):
        """Drivers without server-side prepared statements fill the values in themselves."""
        cursor = conn.cursor(**self.text_cursor)
        sql = step["sql"].replace("%", "%%").replace("?", "%s")
        cursor.execute(sql, [parameter(p) for p in step["params"]])
        return self.results(cursor)

    def close(self, conn):
        conn.close()
