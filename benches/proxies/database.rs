//! The databases behind the programs under test, each private and stopped when dropped.

use std::fs;
use std::io::Result;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::client::{DATABASE, PASSWORD, USER};
use crate::servers::{
    Cores, Running, create, failed, free_port, local, option, pinned, until_login,
};

/// A running database.
pub struct Database {
    _process: Running,
    pub address: SocketAddr,
}

impl Database {
    /// A MariaDB. `points` rows are there to be selected by `id`.
    pub fn mariadb(folder: &Path, cores: &Cores, points: u64) -> Result<Self> {
        let data = folder.join("data");
        let log = folder.join("mariadb.log");
        let root = fs::metadata("/proc/self")?.uid() == 0;

        let mut install = Command::new("mariadb-install-db");
        install.args(["--no-defaults", "--skip-test-db"]);
        install.arg("--auth-root-authentication-method=normal");
        install.arg(option("datadir", &data));
        if root {
            install.arg("--user=root");
        }
        let done = install
            .stdout(Stdio::null())
            .stderr(create(&log)?)
            .status()?;
        if !done.success() {
            return Err(failed("mariadb-install-db", &log));
        }

        let first = folder.join("first.sql");
        fs::write(&first, schema(&rows_on_mariadb(points)))?;
        let port = free_port()?;
        let mut server = pinned(&cores.rest, "mariadbd");
        server.arg("--no-defaults");
        server.arg(option("datadir", &data));
        server.arg(option("socket", &folder.join("mariadb.sock")));
        server.arg(option("pid-file", &folder.join("mariadb.pid")));
        server.arg(option("init-file", &first));
        server.arg(format!("--port={port}"));
        server.args([
            "--bind-address=127.0.0.1",
            "--skip-name-resolve",
            "--skip-log-bin",
            "--query-cache-type=0",
            "--max-connections=5000",
            "--max-connect-errors=1000000",
            "--thread-cache-size=2000",
            "--back-log=2000",
            "--innodb-buffer-pool-size=32M",
            "--max-heap-table-size=256M",
        ]);
        if root {
            server.arg("--user=root");
        }
        let child = server.stdout(Stdio::null()).stderr(create(&log)?).spawn()?;
        let address = local(port);
        let mut process = Running(child);
        until_login(&mut process, address, false, "mariadbd", &log)?;
        Ok(Self {
            _process: process,
            address,
        })
    }

    /// A MySQL of Debian sid, as `benches/run.sh` finds it.
    pub fn mysql(folder: &Path, cores: &Cores, points: u64) -> Result<Self> {
        let data = folder.join("mysql-data");
        let log = folder.join("mysql.log");
        let mut install = Command::new(mysql_program());
        install.args(["--no-defaults", "--initialize-insecure"]);
        install.arg(option("datadir", &data)).arg("--user=root");
        let done = install
            .stdout(Stdio::null())
            .stderr(create(&log)?)
            .status()?;
        if !done.success() {
            return Err(failed("mysqld --initialize-insecure", &log));
        }

        let first = folder.join("mysql-first.sql");
        let settings = format!("SET SESSION cte_max_recursion_depth={};\n", points);
        fs::write(&first, settings + &schema(&rows_on_mysql(points)))?;
        let port = free_port()?;
        let mut server = pinned(&cores.rest, &mysql_program());
        server.arg("--no-defaults").arg("--user=root");
        server.arg(option("datadir", &data));
        server.arg(option("socket", &folder.join("mysql.sock")));
        server.arg(option("pid-file", &folder.join("mysql.pid")));
        server.arg(option("init-file", &first));
        server.arg(format!("--port={port}"));
        server.args([
            "--bind-address=127.0.0.1",
            "--mysqlx=OFF",
            "--secure-file-priv=",
            "--skip-name-resolve",
            "--skip-log-bin",
            "--max-connections=5000",
            "--max-connect-errors=1000000",
            "--thread-cache-size=2000",
            "--back-log=2000",
            "--performance-schema=OFF",
            "--innodb-buffer-pool-size=32M",
            "--max-heap-table-size=256M",
        ]);
        let child = server.stdout(Stdio::null()).stderr(create(&log)?).spawn()?;
        let address = local(port);
        let mut process = Running(child);
        until_login(&mut process, address, true, "mysqld", &log)?;
        Ok(Self {
            _process: process,
            address,
        })
    }
}

/// The rows of the table of point selects, of which there are so many.
fn rows_on_mariadb(points: u64) -> String {
    format!("SELECT seq, LEFT(SHA2(seq, 256), 60) FROM seq_1_to_{points}")
}

fn rows_on_mysql(points: u64) -> String {
    format!(
        "WITH RECURSIVE one AS (SELECT 1 AS seq UNION ALL SELECT seq + 1 FROM one WHERE seq < {points}) \
         SELECT seq, LEFT(SHA2(seq, 256), 60) FROM one"
    )
}

fn schema(rows: &str) -> String {
    [
        format!("CREATE DATABASE {DATABASE};"),
        format!("USE {DATABASE};"),
        format!(
            "CREATE TABLE {DATABASE}.points (id INT PRIMARY KEY, c CHAR(60) NOT NULL) \
             ENGINE=MEMORY CHARSET=latin1;"
        ),
        format!("INSERT INTO {DATABASE}.points {rows};"),
        format!("CREATE USER {USER}@'%' IDENTIFIED BY '{PASSWORD}';"),
        // Last, so that the rest is in place once a login succeeds.
        format!("GRANT ALL ON *.* TO {USER}@'%';\n"),
    ]
    .join("\n")
}

/// MySQL of Debian sid, if it is there.
pub fn mysql_program() -> String {
    std::env::var("DPM_BENCH_MYSQL").unwrap_or_else(|_| "mysqld".into())
}
