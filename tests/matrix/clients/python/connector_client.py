"""mysql-connector-python: `pure` or `c` is the argument."""
import sys

if sys.argv[1] == "c":
    # Imported before anything that loads the system's OpenSSL, which may be older than the bundled
    # one.
    import _mysql_connector  # noqa: F401

import mysql.connector
from mysql.connector import version

import jobs

PURE = sys.argv[1] == "pure"


class Connector(jobs.DbApi):
    name = f"mysql-connector-python {version.VERSION_TEXT} ({sys.argv[1]})"
    text_cursor = {}

    def connect(self, job):
        if job["compression"] == "zstd":
            raise jobs.Unsupported("zstd")
        options = dict(
            user=job["user"], password=job["password"], database=job["database"],
            use_pure=PURE, allow_local_infile=True, connection_timeout=60, autocommit=True,
            compress=job["compression"] == "zlib",
        )
        if job.get("socket"):
            options["unix_socket"] = job["socket"]
        else:
            options.update(host=job["host"], port=job["port"])
        if job["tls"] == "off":
            options["ssl_disabled"] = True
        elif job["tls"] == "required":
            options["ssl_disabled"] = False
        else:
            options.update(ssl_ca=job["ca"], ssl_verify_cert=True)
        return mysql.connector.connect(**options)

    def after_error(self, conn):
        try:
            if PURE and conn.unread_result:
                # The driver could not convert a value; it is unknown whether it has read the rest.
                conn.unread_result = False
                conn.reconnect()
            elif conn.unread_result:
                conn.consume_results()
        except Exception:
            pass

    def query(self, conn, step):
        if PURE and "/nowhere/" in step["sql"]:
            # For a missing file it sends nothing, and the server waits until its time-out.
            raise jobs.Unsupported("no file")
        return super().query(conn, step)

    def prepare(self, conn, step):
        if PURE and step["sql"].startswith("CALL"):
            # It reads only the first result, and takes the second for the next answer.
            raise jobs.Unsupported("several results")
        cursor = conn.cursor(prepared=True)
        try:
            cursor.execute(step["sql"], tuple(jobs.parameter(p) for p in step["params"]))
            if cursor.description is None:
                return {"affected": cursor.rowcount, "id": cursor.lastrowid}
            return {"columns": jobs.columns(cursor.description), "rows": jobs.rows(cursor.fetchall())}
        finally:
            cursor.close()

    def ping(self, conn, step):
        return conn.ping(reconnect=False)

    def reset(self, conn, step):
        return conn.cmd_reset_connection()

    def change_user(self, conn, step):
        if PURE and "MariaDB" not in conn.get_server_info():
            # Without TLS it fails in the full authentication that MySQL's accounts may need.
            raise jobs.Unsupported("full login")
        conn.cmd_change_user(step["user"], step["password"], step["database"])

    def init_db(self, conn, step):
        conn.cmd_init_db(step["db"])

    def statistics(self, conn, step):
        return sorted(conn.cmd_statistics())

    def close(self, conn):
        conn.close()


jobs.main(Connector())
