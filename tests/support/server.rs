//! Private MariaDB and MySQL servers: on free ports, in temporary folders, fast rather than durable.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use mysql::prelude::Queryable as _;

use super::cli::Cli;
use super::client::connect;
use super::{PASSWORD, USER, process};

/// The kinds of server.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// Debian 12's MariaDB, always installed.
    MariaDb,
    /// MySQL 9.7 of a bootstrapped Debian sid; not on every machine.
    MySql,
    /// MariaDB 11.8 of the same; not on every machine.
    MariaDb11,
}

/// A running server. Killed and removed when dropped, or when the test process ends.
pub struct Server {
    /// What it is.
    pub flavour: Flavour,
    /// Its port on 127.0.0.1.
    pub port: u16,
    /// Its unix socket.
    pub socket: PathBuf,
    folder: PathBuf,
    child: Mutex<process::Process>,
}

/// The MariaDB that the tests share.
pub fn mariadb() -> &'static Server {
    static SHARED: OnceLock<Server> = OnceLock::new();
    SHARED.get_or_init(|| Server::start_own(Flavour::MariaDb, &[]))
}

/// The MySQL that the tests share. `None` where it is not installed: the test must then return, and
/// is counted as skipped.
pub fn mysql() -> Option<&'static Server> {
    static SHARED: OnceLock<Server> = OnceLock::new();
    if !mysql_available() {
        return None;
    }
    Some(SHARED.get_or_init(|| Server::start_own(Flavour::MySql, &[])))
}

/// The MariaDB 11.8 that the tests share, like [`mysql`].
pub fn mariadb11() -> Option<&'static Server> {
    static SHARED: OnceLock<Server> = OnceLock::new();
    if !Flavour::MariaDb11.available() {
        return None;
    }
    Some(SHARED.get_or_init(|| Server::start_own(Flavour::MariaDb11, &[])))
}

/// Whether MySQL is installed; if not, counts the calling test as skipped.
pub fn mysql_available() -> bool {
    Flavour::MySql.available()
}

/// The folder of the bootstrapped sid.
fn sid_root() -> PathBuf {
    if let Some(path) = std::env::var_os("DPM_TEST_SID") {
        return path.into();
    }
    cache().join("sid")
}

/// The cache that the project keeps between runs.
pub fn cache() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.unwrap_or_else(|| {
        PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache")
    });
    cache.join("dpm")
}

/// The folder of sid's MySQL and MariaDB programs.
pub fn sid_bin() -> PathBuf {
    sid_root().join("dpm-bin")
}

/// Counts the calling test as skipped, because this is missing.
pub fn skipped(missing: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    // Not by `eprintln!`, whose output the test runner captures.
    let _ = writeln!(std::io::stderr(), "SKIPPED, {missing} is missing: {test}");
    if let Some(path) = std::env::var_os("DPM_TEST_SKIPS") {
        let mut file = std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .expect("the list of skipped tests");
        writeln!(file, "{test}").expect("the list of skipped tests");
    }
}

impl Flavour {
    /// Whether it is MariaDB, of either version.
    pub fn is_mariadb(self) -> bool {
        self != Flavour::MySql
    }

    /// Whether it is installed; if not, counts the calling test as skipped.
    pub fn available(self) -> bool {
        let program = self.server_program();
        if program.is_relative() || program.exists() {
            return true;
        }
        skipped(&format!("{self:?}"));
        false
    }

    /// One of its programs, by its MySQL name.
    pub fn program(self, name: &str) -> PathBuf {
        let of_mariadb = match name {
            "mysql" => "mariadb",
            "mysqldump" => "mariadb-dump",
            "mysqladmin" => "mariadb-admin",
            "mysqlbinlog" => "mariadb-binlog",
            other => other,
        };
        match self {
            Flavour::MySql => sid_bin().join(name),
            Flavour::MariaDb => of_mariadb.into(),
            Flavour::MariaDb11 => sid_bin().join(of_mariadb),
        }
    }

    /// The folder of its clients' plugins, if it is not the one they were built for.
    pub fn client_plugins(self) -> Option<PathBuf> {
        match self {
            Flavour::MySql => Some(sid_root().join("usr/lib/mysql/plugin")),
            Flavour::MariaDb => None,
            Flavour::MariaDb11 => std::fs::read_dir(sid_root().join("usr/lib"))
                .ok()?
                .filter_map(|entry| Some(entry.ok()?.path().join("libmariadb3/plugin")))
                .find(|folder| folder.exists()),
        }
    }

    fn server_program(self) -> PathBuf {
        match self {
            Flavour::MySql => sid_bin().join("mysqld"),
            _ => self.program("mariadbd"),
        }
    }

    /// The options that say where the program's own files are. They must come first.
    fn base(self) -> Vec<String> {
        let mut options = vec!["--no-defaults".to_owned()];
        let (usr, share) = match self {
            Flavour::MariaDb => {
                let installed = Path::new("/usr/lib/mysql/plugin/auth_ed25519.so");
                let unpacked = cache().join("mariadb-plugins/plugin");
                if !installed.exists() && unpacked.exists() {
                    options.push(format!("--plugin-dir={}", unpacked.display()));
                }
                return options;
            }
            Flavour::MySql => (sid_root().join("usr"), "mysql"),
            Flavour::MariaDb11 => (sid_root().join("mariadb/usr"), "mariadb"),
        };
        let usr = usr.display();
        options.push(format!("--basedir={usr}"));
        options.push(format!("--lc-messages-dir={usr}/share/{share}"));
        options.push(format!("--character-sets-dir={usr}/share/{share}/charsets"));
        options.push(format!("--plugin-dir={usr}/lib/mysql/plugin"));
        options
    }

    /// The plugins to load besides the built-in ones, for accounts with `ed25519`, and on MariaDB
    /// 11.8 with `parsec` and `caching_sha2_password`.
    fn plugins(self) -> &'static [&'static str] {
        match self {
            Flavour::MySql => &[],
            Flavour::MariaDb => &["--plugin-load-add=auth_ed25519"],
            Flavour::MariaDb11 => &[
                "--plugin-load-add=auth_ed25519",
                "--plugin-load-add=auth_parsec",
                "--plugin-load-add=auth_mysql_sha2",
            ],
        }
    }

    /// Tests need no durability, which costs time.
    fn settings(self) -> &'static [&'static str] {
        match self {
            Flavour::MariaDb | Flavour::MariaDb11 => &[
                "--innodb-log-file-size=48M",
                "--aria-log-file-size=8M",
                "--innodb-doublewrite=0",
            ],
            Flavour::MySql => &[
                "--innodb-redo-log-capacity=64M",
                "--innodb-doublewrite=OFF",
                "--performance-schema=OFF",
                "--mysqlx=OFF",
            ],
        }
    }

    /// A newly initialised data folder, made once for each version of the server and build folder;
    /// servers get copies of it.
    pub fn template(self) -> PathBuf {
        // Tests of this process that need it at the same time wait for the first.
        static MAKING: Mutex<()> = Mutex::new(());
        let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
        let version = process::run(
            {
                let mut command = process::command(self.server_program());
                command.arg("--version");
                command
            },
            Vec::new(),
            Duration::from_secs(20),
        );
        let version: String = version
            .out()
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
            .collect();
        let version = version
            .split("Ver")
            .last()
            .unwrap_or_default()
            .trim_matches('-');
        // One of the servers prints more than its version.
        let version = &version[..version.len().min(60)];
        let cache = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let template = cache.join(format!("{self:?}-{version}"));
        if template.exists() {
            return template;
        }
        let fresh = cache.join(format!("{self:?}-{version}.{}", std::process::id()));
        let mut command = match self {
            Flavour::MariaDb | Flavour::MariaDb11 => {
                let mut command = process::command(self.program("mariadb-install-db"));
                command.args(["--no-defaults", "--skip-test-db"]);
                command.arg("--auth-root-authentication-method=normal");
                command
            }
            Flavour::MySql => {
                let mut command = process::command(self.server_program());
                command.args(self.base()).arg("--initialize-insecure");
                command
            }
        };
        command
            .args(self.settings())
            .arg("--user=root")
            .arg(format!("--datadir={}", fresh.display()));
        let made = process::run(command, Vec::new(), Duration::from_secs(120));
        assert_eq!(made.code, 0, "no data folder: {}{}", made.out(), made.err());
        // Another process may have been faster; then its template is used.
        if std::fs::rename(&fresh, &template).is_err() {
            let _ = std::fs::remove_dir_all(&fresh);
        }
        template
    }

    /// Statements that make the accounts and the database of the tests.
    pub fn accounts(self) -> String {
        let plugin = match self {
            Flavour::MariaDb | Flavour::MariaDb11 => "mysql_native_password",
            Flavour::MySql => "caching_sha2_password",
        };
        let native = match self {
            Flavour::MariaDb | Flavour::MariaDb11 => {
                format!("IDENTIFIED VIA {plugin} USING PASSWORD('{PASSWORD}')")
            }
            Flavour::MySql => format!("IDENTIFIED WITH {plugin} BY '{PASSWORD}'"),
        };
        format!(
            "CREATE USER IF NOT EXISTS '{USER}'@'%' {native};\n\
             GRANT ALL ON *.* TO '{USER}'@'%' WITH GRANT OPTION;\n\
             CREATE USER IF NOT EXISTS 'empty'@'%';\n\
             CREATE DATABASE IF NOT EXISTS test;\n\
             GRANT ALL ON *.* TO 'empty'@'%';\n"
        )
    }
}

impl Server {
    /// Starts a server for one test, with more options.
    pub fn start_own(flavour: Flavour, options: &[&str]) -> Server {
        Server::start_on(flavour, &flavour.template(), &flavour.accounts(), options)
    }

    /// The same on a copy of any data folder, with the statements that are to run at each start.
    pub fn start_on(flavour: Flavour, data: &Path, init: &str, options: &[&str]) -> Server {
        let template = data;
        let folder = process::folder(match flavour {
            Flavour::MariaDb => "mariadb",
            Flavour::MySql => "mysql",
            Flavour::MariaDb11 => "mariadb11",
        });
        let data = folder.join("data");
        let copied = Command::new("cp")
            .args(["-a", "--reflink=auto", "--sparse=always"])
            .arg(template)
            .arg(&data)
            .status()
            .expect("cp runs");
        assert!(copied.success(), "the data folder could not be copied");
        // MySQL's server UUID must differ: a replica refuses a source that has its own.
        let _ = std::fs::remove_file(data.join("auto.cnf"));
        std::fs::create_dir(folder.join("tmp")).expect("a folder");
        std::fs::write(folder.join("init.sql"), init).expect("a file");

        // Another program may take the port between the check and the server's bind.
        for _ in 0..5 {
            let port = process::free_port();
            let child = launch(flavour, &folder, port, options);
            let mut server = Server {
                flavour,
                port,
                socket: folder.join("sock"),
                folder: folder.clone(),
                child: Mutex::new(child),
            };
            if server.wait_until_ready() {
                return server;
            }
            // So that dropping this server does not remove the folder.
            server.folder = PathBuf::new();
        }
        panic!("{flavour:?} does not start:\n{}", log_tail(&folder));
    }

    /// Whether it has started: a handshake can be read.
    fn wait_until_ready(&self) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(60) {
            if self.exited() {
                return false;
            }
            if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) {
                let _ = stream.set_read_timeout(Some(Duration::from_secs(60)));
                let mut head = [0; 5];
                // Protocol 10: a handshake, not an error packet.
                if stream.read_exact(&mut head).is_ok() && head[4] == 10 && !self.exited() {
                    return true;
                }
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }

    fn child(&self) -> MutexGuard<'_, process::Process> {
        // A test that fails with it in its hands must not keep the server from being killed.
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn exited(&self) -> bool {
        let mut child = self.child();
        child.try_wait().expect("it can be waited for").is_some()
    }

    /// "127.0.0.1".
    pub fn host(&self) -> &'static str {
        "127.0.0.1"
    }

    /// Runs statements as root over the unix socket with the server's own command-line client;
    /// the answer is tab-separated lines without headings.
    #[track_caller]
    pub fn sql(&self, statements: &str) -> String {
        self.try_sql(statements)
            .unwrap_or_else(|error| panic!("{statements}: {error}"))
    }

    /// The same; the client's message if it fails.
    pub fn try_sql(&self, statements: &str) -> Result<String, String> {
        let done = Cli::tool(self.flavour, "mysql")
            .args(["--no-defaults", "-uroot", "-N", "-B"])
            .arg(format!("--socket={}", self.socket.display()))
            .stdin(statements)
            .run();
        match done.code {
            0 => Ok(done.out()),
            _ => Err(done.err()),
        }
    }

    /// Waits until it listens on its unix socket, too, which is a little later than on its port.
    #[track_caller]
    pub fn wait_for_socket(&self) {
        super::eventually("the server listens on its socket", || {
            std::os::unix::net::UnixStream::connect(&self.socket).is_ok()
        });
    }

    /// How many connections run exactly this statement now.
    #[track_caller]
    pub fn running(&self, statement: &str) -> usize {
        let count = connect(self.port).exec_first(
            "SELECT COUNT(*) FROM information_schema.processlist WHERE info = ?",
            (statement,),
        );
        count.expect("an answer").expect("a row")
    }

    /// Makes a query that will run until the test wants it to end.
    #[track_caller]
    pub fn latch(&self) -> Latch {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let name = format!("latch{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let mut holder = connect(self.port);
        let taken = holder.query_first(format!("SELECT GET_LOCK('{name}', 0)"));
        assert_eq!(taken.expect("an answer"), Some(1));
        Latch {
            query: format!("SELECT GET_LOCK('{name}', 60)"),
            holder,
        }
    }

    /// Creates a database with a unique name, and returns the name.
    pub fn database(&self) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let name = format!("t{}", NEXT.fetch_add(1, Ordering::Relaxed));
        self.sql(&format!("CREATE DATABASE {name}"));
        name
    }

    /// Kills the process, as a power cut would.
    pub fn kill(&self) {
        let mut child = self.child();
        let _ = child.kill();
        let _ = child.wait();
    }

    /// Sends it a signal by name, such as STOP, after which it is connected but silent.
    pub fn signal(&self, name: &str) {
        process::signal(&self.child(), name);
    }

    /// Waits until the server has ended by itself.
    #[track_caller]
    pub fn wait_for_end(&self) {
        let mut child = self.child();
        let status = process::wait(&mut child, Duration::from_secs(60));
        assert!(status.is_some(), "the server does not end");
    }

    /// Starts it again on the same port and data, after [`Server::kill`] or its own end.
    pub fn restart(&self, options: &[&str]) {
        *self.child() = launch(self.flavour, &self.folder, self.port, options);
        assert!(
            self.wait_until_ready(),
            "the server does not start again:\n{}",
            log_tail(&self.folder)
        );
    }

    /// Runs its program, while the server is down, with options that make it look at its data and end;
    /// returns what it wrote.
    #[track_caller]
    pub fn recover(&self, options: &[&str]) -> String {
        let mut child = launch(self.flavour, &self.folder, self.port, options);
        let ended = process::wait(&mut child, Duration::from_secs(60));
        let log = std::fs::read(self.folder.join("log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log).into_owned();
        assert!(ended.is_some(), "it does not end: {log}");
        log
    }

    /// Whether it runs and answers within two seconds.
    pub fn answers(&self) -> bool {
        let options = super::options(self.port)
            .read_timeout(Some(Duration::from_secs(2)))
            .tcp_connect_timeout(Some(Duration::from_secs(2)));
        mysql::Conn::new(options).is_ok_and(|mut conn| conn.ping().is_ok())
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child().id()
    }

    /// A folder that goes with the server.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

/// See [`Server::latch`].
pub struct Latch {
    /// Gives 1 when the latch is opened.
    pub query: String,
    holder: mysql::Conn,
}

impl Latch {
    /// Lets the query end.
    pub fn open(self) {
        drop(self.holder);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if self.folder.is_absolute() {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

fn launch(flavour: Flavour, folder: &Path, port: u16, options: &[&str]) -> process::Process {
    let at = folder.display();
    let log = std::fs::File::create(folder.join("log")).expect("a log");
    let mut command = process::command(flavour.server_program());
    command
        // Nodes of a cluster run the script there that hands over a state.
        .env("PATH", super::cluster::path_of_scripts())
        .args(flavour.base())
        .args(flavour.settings())
        .args(flavour.plugins())
        .args([
            "--user=root",
            "--bind-address=127.0.0.1",
            "--skip-name-resolve",
            "--innodb-buffer-pool-size=64M",
            "--innodb-flush-log-at-trx-commit=0",
            "--innodb-flush-method=nosync",
            "--sync-binlog=0",
            "--server-id=1",
            "--log-bin=binlog",
            "--local-infile=1",
            "--secure-file-priv=",
            "--max-connections=1500",
            "--back-log=1500",
            "--max-allowed-packet=1G",
            "--max-connect-errors=1000000",
        ])
        .arg(format!("--datadir={at}/data"))
        .arg(format!("--tmpdir={at}/tmp"))
        .arg(format!("--socket={at}/sock"))
        .arg(format!("--pid-file={at}/pid"))
        .arg(format!("--init-file={at}/init.sql"))
        .arg(format!("--port={port}"))
        .args(options)
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a log"))
        .stderr(log);
    process::spawn(command)
}

fn log_tail(folder: &Path) -> String {
    process::clip(&std::fs::read(folder.join("log")).unwrap_or_default())
}
