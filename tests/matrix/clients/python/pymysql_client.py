from importlib.metadata import version

import pymysql
import pymysql.constants.CLIENT as CLIENT

import jobs


class PyMySQL(jobs.DbApi):
    name = f"PyMySQL {version('PyMySQL')}"

    def connect(self, job):
        if job["compression"] != "none":
            raise jobs.Unsupported("compression")
        options = dict(
            user=job["user"], password=job["password"], database=job["database"],
            local_infile=True, client_flag=CLIENT.MULTI_STATEMENTS, connect_timeout=20,
            read_timeout=60, write_timeout=60, autocommit=True, max_allowed_packet=1 << 30,
        )
        if job.get("socket"):
            options["unix_socket"] = job["socket"]
        else:
            options.update(host=job["host"], port=job["port"])
        if job["tls"] == "off":
            options["ssl_disabled"] = True
        elif job["tls"] == "required":
            options["ssl"] = {"check_hostname": False, "verify_mode": "none"}
        else:
            options.update(ssl_ca=job["ca"], ssl_verify_cert=True, ssl_verify_identity=False)
        return pymysql.connect(**options)

    def ping(self, conn, step):
        return conn.ping(reconnect=False)

    def init_db(self, conn, step):
        return conn.select_db(step["db"])

    def warnings(self, conn, step):
        return [jobs.value(v) for row in conn.show_warnings() for v in row]


jobs.main(PyMySQL())
