import MySQLdb
import MySQLdb.constants.CLIENT as CLIENT
from MySQLdb import _mysql

import jobs


class MySQLClient(jobs.DbApi):
    name = f"mysqlclient {MySQLdb.version_info[0]}.{MySQLdb.version_info[1]}.{MySQLdb.version_info[2]}" \
        f" on Connector/C {_mysql.get_client_info()}"

    def connect(self, job):
        if job["compression"] == "zstd":
            raise jobs.Unsupported("zstd")
        options = dict(
            user=job["user"], password=job["password"], database=job["database"], charset="utf8mb4",
            local_infile=1, client_flag=CLIENT.MULTI_STATEMENTS, connect_timeout=20, autocommit=True,
            read_timeout=60, write_timeout=60,
        )
        if job["compression"] == "zlib":
            # Any value enables it.
            options["compress"] = True
        if job.get("socket"):
            options["unix_socket"] = job["socket"]
        else:
            options.update(host=job["host"], port=job["port"])
        if job["tls"] == "off":
            options["ssl_mode"] = "DISABLED"
        elif job["tls"] == "required":
            options["ssl_mode"] = "REQUIRED"
        else:
            options.update(ssl_mode="VERIFY_CA", ssl={"ca": job["ca"]})
        return MySQLdb.connect(**options)

    def ping(self, conn, step):
        return conn.ping()

    # No change_user: Debian 12's Connector/C (3.3) crashes in the second call, also without the
    # proxy.

    def init_db(self, conn, step):
        return conn.select_db(step["db"])

    def statistics(self, conn, step):
        return conn.stat().split(":")[0]


jobs.main(MySQLClient())
