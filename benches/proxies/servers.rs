//! The programs under test, each started for itself and stopped when dropped.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Error, Result};
use std::mem;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::tls::Certificate;

/// How long a program may take to start.
const PATIENCE: Duration = Duration::from_secs(30);

/// Which cores the proxy and everything else run on; empty where there is only one.
pub struct Cores {
    pub proxy: String,
    pub rest: String,
}

impl Cores {
    /// The last core is the proxy's.
    pub fn split(count: usize) -> Self {
        match count {
            0 | 1 => Self {
                proxy: String::new(),
                rest: String::new(),
            },
            2 => Self {
                proxy: "1".into(),
                rest: "0".into(),
            },
            _ => Self {
                proxy: (count - 1).to_string(),
                rest: format!("0-{}", count - 2),
            },
        }
    }
}

/// A command that is killed with this program and runs on `cores`.
pub fn pinned(cores: &str, program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]);
    if !cores.is_empty() {
        command.args(["taskset", "-c", cores]);
    }
    command.arg(program).stdin(Stdio::null());
    command
}

/// A child process, killed when dropped.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        // An error does not matter: it may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A proxy in front of the database.
pub struct Proxy {
    process: Running,
    pub address: SocketAddr,
    /// Whether clients are to use TLS.
    pub tls: bool,
}

impl Proxy {
    pub fn haproxy(folder: &Path, cores: &Cores, database: SocketAddr) -> Result<Self> {
        let port = free_port()?;
        let config = folder.join("haproxy.cfg");
        let log = folder.join("haproxy.log");
        fs::write(
            &config,
            format!(
                "global\n  nbthread 1\n  maxconn 5000\n\
                 defaults\n  mode tcp\n  timeout connect 10s\n  timeout client 1h\n  \
                 timeout server 1h\n\
                 listen bench\n  bind 127.0.0.1:{port}\n  server database {database}\n"
            ),
        )?;
        let mut command = pinned(&cores.proxy, "haproxy");
        command.args(["-db", "-f"]).arg(&config);
        command.stdout(Stdio::null()).stderr(create(&log)?);
        let mut process = Running(command.spawn()?);
        let address = local(port);
        until_login(&mut process, address, false, "haproxy", &log)?;
        Ok(Self {
            process,
            address,
            tls: false,
        })
    }

    /// MySQL Router, which terminates the clients' TLS and uses none towards the database. `pool`: so many
    /// connections to the database wait for clients, and are shared by them.
    pub fn router(
        folder: &Path,
        cores: &Cores,
        database: SocketAddr,
        certificate: &Certificate,
        pool: Option<usize>,
    ) -> Result<Self> {
        let port = free_port()?;
        let config = folder.join("router.conf");
        let log = folder.join("router.log");
        let (cert, key) = (certificate.cert.display(), certificate.key.display());
        // It was built for a folder that does not exist here.
        let plugins = std::env::var("DPM_BENCH_ROUTER_PLUGINS")
            .map_or_else(|_| String::new(), |path| format!("plugin_folder={path}\n"));
        let own = folder.join("router");
        fs::create_dir_all(&own)?;
        let own = own.display();
        let sharing = match pool {
            // A connection is shared as soon as its client has been answered.
            Some(size) => format!(
                "connection_sharing=1\nconnection_sharing_delay=0\n\
                 [connection_pool]\nmax_idle_server_connections={size}\nidle_timeout=60\n"
            ),
            None => "connection_sharing=0\n".to_owned(),
        };
        fs::write(
            &config,
            format!(
                "[DEFAULT]\n{plugins}logging_folder=\nruntime_folder={own}\ndata_folder={own}\n\
                 max_total_connections=5000\n\
                 [logger]\nlevel=WARNING\n\
                 [io]\nthreads=1\n\
                 [routing:bench]\nbind_address=127.0.0.1\nbind_port={port}\n\
                 destinations={database}\nrouting_strategy=first-available\n\
                 protocol=classic\nmax_connections=5000\n\
                 max_connect_errors=1000000\n\
                 client_ssl_mode=PREFERRED\nclient_ssl_cert={cert}\nclient_ssl_key={key}\n\
                 server_ssl_mode=DISABLED\n{sharing}"
            ),
        )?;
        let mut command = pinned(&cores.proxy, &router_program());
        command.arg("-c").arg(&config);
        command.stdout(create(&log)?).stderr(create(&log)?);
        let mut process = Running(command.spawn()?);
        let address = local(port);
        until_login(&mut process, address, true, "mysqlrouter", &log)?;
        Ok(Self {
            process,
            address,
            tls: true,
        })
    }

    pub fn dpm(
        folder: &Path,
        cores: &Cores,
        database: SocketAddr,
        binary: &str,
        script: &Path,
        certificate: Option<&Certificate>,
    ) -> Result<Self> {
        let log = folder.join("dpm.log");
        let mut command = pinned(&cores.proxy, binary);
        command.arg("--startfile").arg(script).arg("--");
        command.arg(database.ip().to_string());
        command.arg(database.port().to_string());
        if let Some(certificate) = certificate {
            command.args([&certificate.cert, &certificate.key]);
        }
        command.stdout(Stdio::piped()).stderr(create(&log)?);
        let mut process = Running(command.spawn()?);

        let line = first_line(&mut process).unwrap_or_default();
        let port = line.trim().parse().map_err(|_| failed(binary, &log))?;
        let address = local(port);
        let tls = certificate.is_some();
        until_login(&mut process, address, tls, binary, &log)?;
        Ok(Self {
            process,
            address,
            tls,
        })
    }

    pub fn pid(&self) -> u32 {
        self.process.0.id()
    }
}

/// A program's first line of output; its output stays open.
fn first_line(process: &mut Running) -> Option<String> {
    let mut stdout = BufReader::new(process.0.stdout.take()?);
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut line = String::new();
        while matches!(stdout.read_line(&mut line), Ok(1..)) {
            let _ = sender.send(mem::take(&mut line));
        }
    });
    receiver.recv_timeout(PATIENCE).ok()
}

/// MySQL Router of Debian sid, as `benches/run.sh` installs it.
pub fn router_program() -> String {
    std::env::var("DPM_BENCH_ROUTER").unwrap_or_else(|_| "mysqlrouter".into())
}

pub fn until_login(
    process: &mut Running,
    address: SocketAddr,
    tls: bool,
    name: &str,
    log: &Path,
) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match Client::login(address, tls, 1024) {
            Ok(client) => return client.quit(),
            Err(error) if Instant::now() > deadline => {
                eprintln!("cannot log in through {name}: {error}");
                return Err(failed(name, log));
            }
            Err(_) => sleep(Duration::from_millis(20)),
        }
        if process.0.try_wait()?.is_some() {
            return Err(failed(name, log));
        }
    }
}

pub fn failed(name: &str, log: &Path) -> Error {
    let log = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = log.lines().collect();
    let tail = lines[lines.len().saturating_sub(20)..].join("\n");
    Error::other(format!("{name} did not start\n{tail}"))
}

pub fn option(name: &str, value: &Path) -> String {
    format!("--{name}={}", value.display())
}

pub fn create(path: &Path) -> Result<File> {
    File::options().create(true).append(true).open(path)
}

pub fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}
