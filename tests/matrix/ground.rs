//! What the clients connect to: the servers with their accounts and certificates, and the proxies
//! in front of each.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use mysql::prelude::Queryable;

use crate::support::dpm::Launch;
use crate::support::{Cli, Dpm, Flavour, Server, process};

/// The password of every account of the matrix.
pub const PASSWORD: &str = "Geheim-123";

/// The ways from a client to a server.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// Without the proxy.
    Direct,
    /// The client logs in at the server through the proxy.
    Passthrough,
    /// The proxy knows the accounts, and logs in to the server with another.
    Accounts,
    /// Passthrough with a Lua function in every state, which reads its arguments.
    Callbacks,
    /// Connections that are shared, also with strangers.
    Pool,
}

/// The ways through the proxy.
pub const PROXIED: [Way; 4] = [Way::Passthrough, Way::Accounts, Way::Callbacks, Way::Pool];

impl Way {
    /// Its name in the startfile and the document.
    pub fn name(self) -> &'static str {
        match self {
            Way::Direct => "direct",
            Way::Passthrough => "passthrough",
            Way::Accounts => "accounts",
            Way::Callbacks => "callbacks",
            Way::Pool => "pool",
        }
    }
}

/// A way to authenticate.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Plugin {
    /// Its name in the document, and its account's name.
    pub name: &'static str,
    /// The server's name for it.
    plugin: &'static str,
    /// Whether every login uses a new account, so that it is the account's first.
    fresh: bool,
}

const fn plugin(name: &'static str, plugin: &'static str) -> Plugin {
    Plugin {
        name,
        plugin,
        fresh: false,
    }
}

const NATIVE: Plugin = plugin("native", "mysql_native_password");
const SHA2_FAST: Plugin = plugin("sha2_fast", "caching_sha2_password");
const SHA2_FULL: Plugin = Plugin {
    name: "sha2_full",
    plugin: "caching_sha2_password",
    fresh: true,
};
const SHA256: Plugin = plugin("sha256", "sha256_password");
const ED25519: Plugin = plugin("ed25519", "ed25519");
const PARSEC: Plugin = plugin("parsec", "parsec");

/// A server, and the proxies in front of it.
pub struct Ground {
    /// The server.
    pub server: Server,
    /// Its name in the document.
    pub title: String,
    /// The version in its handshake.
    version: String,
    /// The plugins that its accounts can have.
    pub plugins: Vec<Plugin>,
    /// The certificate of the authority that signed all others.
    pub ca: PathBuf,
    /// A file for LOAD DATA LOCAL.
    pub file: PathBuf,
    /// The administrative port of the pool.
    pub admin: u16,
    /// How many clients under test are at the pool.
    visitors: AtomicUsize,
    root: Mutex<mysql::Conn>,
    proxies: Vec<(Way, Dpm, u16)>,
}

/// The files of an authority, and of a certificate for this host that it has signed.
struct Certificates {
    ca: PathBuf,
    cert: PathBuf,
    key: PathBuf,
}

fn certificates(folder: &Path) -> Certificates {
    let files = Certificates {
        ca: folder.join("ca.pem"),
        cert: folder.join("cert.pem"),
        key: folder.join("key.pem"),
    };
    let authority_key = rcgen::KeyPair::generate().expect("a key");
    let mut authority = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    authority
        .distinguished_name
        .push(rcgen::DnType::CommonName, "The matrix's authority");
    let signed = authority
        .self_signed(&authority_key)
        .expect("a certificate");
    std::fs::write(&files.ca, signed.pem()).expect("a file");
    let issuer = rcgen::Issuer::new(authority, authority_key);

    let key = rcgen::KeyPair::generate().expect("a key");
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let mut params = rcgen::CertificateParams::new(names).expect("parameters");
    // Old drivers compare only the common name.
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "127.0.0.1");
    let cert = params.signed_by(&key, &issuer).expect("a certificate");
    std::fs::write(&files.cert, cert.pem()).expect("a file");
    std::fs::write(&files.key, key.serialize_pem()).expect("a file");
    files
}

impl Ground {
    /// Starts a server and its proxies. `None` if the server is not installed.
    pub fn prepare(flavour: Flavour, pool_size: u32) -> Option<Ground> {
        if !flavour.available() {
            return None;
        }
        let folder = process::folder("matrix");
        let tls = certificates(&folder);
        let options = [
            format!("--ssl-ca={}", tls.ca.display()),
            format!("--ssl-cert={}", tls.cert.display()),
            format!("--ssl-key={}", tls.key.display()),
        ];
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let server = Server::start_own(flavour, &options);
        let version = server.sql("SELECT VERSION()");
        let version = version.trim();
        // The version in its handshake: before MariaDB 11 prefixed with one that old clients
        // understand.
        let old = if flavour == Flavour::MariaDb {
            "5.5.5-"
        } else {
            ""
        };
        let greeting = format!("{old}{version}");
        let version = version.split('-').next().unwrap_or_default();
        let family = if flavour.is_mariadb() {
            "MariaDB"
        } else {
            "MySQL"
        };

        let opts = mysql::OptsBuilder::new()
            .user(Some("root"))
            .socket(server.socket.to_str());
        let mut root = mysql::Conn::new(opts).expect("root logs in");
        let wanted = match flavour {
            Flavour::MariaDb => vec![NATIVE, ED25519],
            Flavour::MariaDb11 => vec![NATIVE, ED25519, PARSEC, SHA2_FAST, SHA2_FULL],
            Flavour::MySql => vec![NATIVE, SHA2_FAST, SHA2_FULL, SHA256],
        };
        let mut plugins = Vec::new();
        for plugin in wanted {
            // MySQL 9 no longer has mysql_native_password, and may not have sha256_password.
            if create(&mut root, flavour, plugin, plugin.name).is_ok() {
                plugins.push(plugin);
            }
        }
        create(&mut root, flavour, plugins[0], "other").expect("an account");

        let file = folder.join("lines.txt");
        let lines: String = (0..20_000)
            .map(|i| format!("{i}\tthe line of number {i} ü\n"))
            .collect();
        std::fs::write(&file, lines).expect("a file");
        let mut ground = Ground {
            title: format!("{family} {version}"),
            plugins,
            ca: tls.ca.clone(),
            version: greeting,
            file,
            admin: 0,
            visitors: AtomicUsize::new(0),
            root: Mutex::new(root),
            proxies: Vec::new(),
            server,
        };
        for plugin in ground.plugins.clone() {
            for account in ["a", "b"].map(|side| format!("{side}_{}", plugin.name)) {
                if plugin.plugin == SHA2_FAST.plugin && !plugin.fresh {
                    ground.warm(&account);
                }
            }
        }
        let startfile = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/matrix/ways.lua");
        for way in PROXIED {
            let dpm = Launch::file(startfile.clone())
                .arg(way.name())
                .server(&ground.server)
                .arg(tls.cert.display())
                .arg(tls.key.display())
                .arg(tls.ca.display())
                .arg(PASSWORD)
                .arg(&ground.version)
                .arg(pool_size)
                .start();
            let port = dpm.port();
            if way == Way::Pool {
                let line = dpm.line("admin ");
                ground.admin = line["admin ".len()..].parse().expect("a port");
            }
            ground.proxies.push((way, dpm, port));
        }
        Some(ground)
    }

    /// Logs an account in once, over the unix socket: from then on the server's cache allows the
    /// fast path.
    fn warm(&self, account: &str) {
        let done = Cli::tool(self.server.flavour, "mysql")
            .args([
                "--no-defaults".to_owned(),
                format!("-u{account}"),
                format!("-p{PASSWORD}"),
            ])
            .args(
                self.server
                    .flavour
                    .client_plugins()
                    .map(|f| format!("--plugin-dir={}", f.display())),
            )
            .arg(format!("--socket={}", self.server.socket.display()))
            .args(["-e", "DO 1"])
            .run();
        assert_eq!(done.code, 0, "{account}: {}", done.err());
    }

    /// The account for a plugin: for full authentication one that has never logged in.
    pub fn account(&self, plugin: Plugin) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        if !plugin.fresh {
            return format!("a_{}", plugin.name);
        }
        // All of one length, since some clients report a column's longest value.
        let name = format!(
            "{}_{:04}",
            plugin.name,
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let mut root = self.root.lock().unwrap();
        create(&mut root, self.server.flavour, plugin, &name).expect("an account");
        format!("a_{name}")
    }

    /// Drops a database if it exists, and creates it.
    pub fn database(&self, name: &str) {
        let mut root = self.root.lock().unwrap();
        root.query_drop(format!("DROP DATABASE IF EXISTS {name}"))
            .expect("no database");
        root.query_drop(format!("CREATE DATABASE {name} CHARACTER SET utf8mb4"))
            .expect("a database");
    }

    /// The port to connect to for a way.
    pub fn port(&self, way: Way) -> u16 {
        self.proxies
            .iter()
            .find(|proxy| proxy.0 == way)
            .map_or(self.server.port, |proxy| proxy.2)
    }

    /// Tells strangers that a client under test uses the pool, until the result is dropped.
    pub fn visit(&self) -> Visit<'_> {
        self.visitors.fetch_add(1, Ordering::Relaxed);
        Visit(self)
    }

    /// Whether a client under test uses the pool.
    pub fn is_visited(&self) -> bool {
        self.visitors.load(Ordering::Relaxed) > 0
    }

    /// The proxies, whose counters are checked at the end.
    pub fn proxies(&self) -> impl Iterator<Item = (Way, &Dpm)> {
        self.proxies.iter().map(|(way, dpm, _)| (*way, dpm))
    }
}

/// The time for which a client under test uses the pool.
pub struct Visit<'a>(&'a Ground);

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        self.0.visitors.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Creates an account, `a_NAME`, and the account with which the proxy logs in for it, `b_NAME`.
fn create(
    root: &mut mysql::Conn,
    flavour: Flavour,
    plugin: Plugin,
    name: &str,
) -> mysql::Result<()> {
    for side in ["a", "b"] {
        let name = format!("{side}_{name}");
        let plugin = plugin.plugin;
        let identified = match flavour.is_mariadb() {
            true => format!("IDENTIFIED VIA {plugin} USING PASSWORD('{PASSWORD}')"),
            false => format!("IDENTIFIED WITH {plugin} BY '{PASSWORD}'"),
        };
        root.query_drop(format!("CREATE USER '{name}'@'%' {identified}"))?;
        root.query_drop(format!("GRANT ALL ON *.* TO '{name}'@'%'"))?;
    }
    Ok(())
}
