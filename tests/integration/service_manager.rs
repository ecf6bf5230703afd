//! systemd's protocols: sd_notify and socket activation.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::Duration;

use crate::support::dpm::Launch;
use crate::support::wire::{Wire, caps};
use crate::support::{Dpm, PATIENCE, eventually, mariadb, process};

const PLAIN: u32 = caps::BASE | caps::MULTI;

/// A timer that keeps the program alive.
const IDLE: &str = "dpm.new_timer():schedule(3600, 0, function() end)";

/// What a service manager does to be told.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Manager {
    fn new() -> Manager {
        let path = process::folder("notify").join("socket");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Manager { socket, path }
    }

    fn starts(&self, launch: Launch) -> Dpm {
        launch
            .env("NOTIFY_SOCKET", &self.path.display().to_string())
            .start()
    }

    /// The next message.
    fn hears(&self) -> String {
        let mut message = [0; 1000];
        let len = self.socket.recv(&mut message).expect("a message");
        String::from_utf8_lossy(&message[..len]).into_owned()
    }

    /// The next message that is no sign of life.
    fn hears_news(&self) -> String {
        loop {
            let message = self.hears();
            if message != "WATCHDOG=1" {
                return message;
            }
        }
    }
}

#[test]
fn it_tells_of_its_start_reloads_and_end() {
    let manager = Manager::new();
    let script = "dpm.on_signal('HUP', function() print('reloads') end) print('started')";
    let mut dpm = manager.starts(Launch::script(&format!("{IDLE} {script}")));
    assert_eq!(manager.hears(), "READY=1");
    assert!(dpm.wrote("started"), "it is ready after the startfile");
    for _ in 0..2 {
        dpm.signal("HUP");
        let reloading = manager.hears();
        let since_boot = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=");
        assert!(
            since_boot.is_some_and(|us| us.parse::<u64>().is_ok()),
            "{reloading}"
        );
        assert_eq!(manager.hears(), "READY=1");
        dpm.line("reloads");
    }
    dpm.signal("TERM");
    assert_eq!(manager.hears(), "STOPPING=1");
    assert_eq!(dpm.wait_for_end().code(), Some(0));
}

#[test]
fn a_startfile_that_fails_is_never_ready() {
    let manager = Manager::new();
    let mut dpm = manager.starts(Launch::script("error('as planned')"));
    assert_eq!(dpm.wait_for_end().code(), Some(1));
    manager.socket.set_nonblocking(true).unwrap();
    assert!(manager.socket.recv(&mut [0; 100]).is_err());
}

#[test]
fn a_loop_that_is_stuck_gives_no_sign_of_life() {
    let manager = Manager::new();
    let script = "dpm.on_signal('USR2', function() print('stuck') while true do end end)";
    let launch = Launch::script(&format!("{IDLE} {script}")).env("WATCHDOG_USEC", "200000");
    let dpm = manager.starts(launch);
    assert_eq!(manager.hears(), "READY=1");
    for _ in 0..5 {
        assert_eq!(manager.hears(), "WATCHDOG=1");
    }
    dpm.signal("USR2");
    dpm.line("stuck");
    let socket = &manager.socket;
    socket
        .set_read_timeout(Some(Duration::from_secs(1)))
        .unwrap();
    // Those that were sent before.
    eventually("silence", || socket.recv(&mut [0; 100]).is_err());
}

/// Any worker that hangs is told by silence; but one that was relieved has another in its place.
#[test]
fn a_worker_that_is_stuck_gives_no_sign_of_life_unless_it_is_relieved() {
    for relieve in [false, true] {
        let manager = Manager::new();
        let script = format!(
            "dpm.config {{ watchdog = 0.1, relieve = {relieve} }}
             dpm.on_signal('USR2', function() if dpm.worker() == 2 then print('stuck') while true do end end end)"
        );
        let launch = Launch::script(&format!("{IDLE} {script}")).option("--workers=2");
        let dpm = manager.starts(launch.env("WATCHDOG_USEC", "400000"));
        assert_eq!(manager.hears(), "READY=1");
        assert_eq!(manager.hears(), "WATCHDOG=1");
        dpm.signal("USR2");
        dpm.line("stuck");
        if relieve {
            dpm.line("worker 3 is started in its place");
            for _ in 0..5 {
                assert_eq!(manager.hears(), "WATCHDOG=1");
            }
            continue;
        }
        let socket = &manager.socket;
        let limit = Some(Duration::from_secs(1));
        socket.set_read_timeout(limit).unwrap();
        // Those that were sent before.
        eventually("silence", || socket.recv(&mut [0; 100]).is_err());
    }
}

#[test]
fn another_processes_watchdog_is_none_of_ours() {
    let manager = Manager::new();
    let mut dpm = manager.starts(
        Launch::script(IDLE)
            .env("WATCHDOG_USEC", "1000")
            .env("WATCHDOG_PID", "1"),
    );
    assert_eq!(manager.hears(), "READY=1");
    dpm.stats();
    dpm.signal("TERM");
    assert_eq!(manager.hears(), "STOPPING=1");
    dpm.wait_for_end();
}

#[test]
fn a_drain_is_told_before_it_is_over() {
    let manager = Manager::new();
    let script = "dpm.config { drain = 3600 } require('harness').passthrough()";
    let launch = Launch::script(script).server(mariadb());
    let mut dpm = manager.starts(launch.env("WATCHDOG_USEC", "100000"));
    let mut busy = Wire::login(dpm.port(), PLAIN);
    let latch = mariadb().latch();
    busy.command(crate::support::wire::com::QUERY, latch.query.as_bytes());
    eventually("it runs", || mariadb().running(&latch.query) == 1);
    assert_eq!(manager.hears_of_service(), "READY=1");
    dpm.signal("TERM");
    assert_eq!(manager.hears_of_service(), "STOPPING=1");
    assert_eq!(manager.hears(), "WATCHDOG=1", "it is alive until its end");
    latch.open();
    assert_eq!(dpm.wait_for_end().code(), Some(0));
}

#[test]
fn a_manager_that_is_not_there_is_no_reason_to_fail() {
    let mut dpm = Launch::script(IDLE)
        .env("NOTIFY_SOCKET", "/nowhere/notify")
        .start();
    dpm.line("the service manager cannot be reached");
    assert_eq!(dpm.stop().code(), Some(0));
}

/// Listens on the address `arg[3]`, port `arg[4]`; twice, if there is a second chance.
const LISTENS: &str = "
    local harness = require('harness')
    function listen()
      listener = dpm.listener(arg[3] ~= '*' and arg[3] or nil, tonumber(arg[4]))
      require('dpml').passthrough_new_clients(listener, {}, { arg[1], tonumber(arg[2]) })
      print('port ' .. listener:socket_port())
    end
    listen()
    print('a second one: ' .. tostring(select(2, pcall(dpm.listener, '127.0.0.1', listener:socket_port()))))
    dpm.on_signal('USR2', function() dpm.close(listener) print(pcall(listen)) end)
    dpm.new_timer():schedule(3600, 0, function() end)";

#[test]
fn a_listener_takes_over_the_socket_of_its_address() {
    for (bound, named) in [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "*"), ("::", "*")] {
        let socket = TcpListener::bind((bound, 0)).unwrap();
        let port = socket.local_addr().unwrap().port();
        // It waits for the program.
        let early = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        let mut dpm = Launch::script(LISTENS)
            .server(mariadb())
            .arg(named)
            .arg(port)
            .env("LISTEN_FDS", "1")
            .socket(socket)
            .start();
        assert_eq!(dpm.port(), port);
        let rows = Wire::login(port, PLAIN).rows("SELECT 1");
        assert_eq!(rows, [["1"]]);
        let taken = dpm.line("a second one");
        assert!(taken.contains("in use"), "{taken}");
        let mut greeting = [0; 5];
        std::io::Read::read_exact(&mut &early, &mut greeting).unwrap();
        assert_eq!(greeting[4], 10);
        // Who closes it may listen again.
        dpm.signal("USR2");
        dpm.line("true");
        let rows = Wire::login(port, PLAIN).rows("SELECT 1");
        assert_eq!(rows, [["1"]]);
        assert_eq!(dpm.stop().code(), Some(0));
    }
}

#[test]
fn a_unix_socket_is_taken_over_with_its_file() {
    let path = process::folder("activated").join("s");
    let socket = UnixListener::bind(&path).unwrap();
    let mut dpm = Launch::script(
        "listener = dpm.listener_unix(arg[1])
         listener:register(dpm.MYC_CONNECT, function(client)
           dpm.wire_packet(client, dpm.new_handshake_pkt())
         end)
         print('listens')",
    )
    .arg(path.display())
    .env("LISTEN_FDS", "1")
    .socket(socket)
    .start();
    dpm.line("listens");
    let mut greeting = [0; 5];
    let mut client = UnixStream::connect(&path).unwrap();
    std::io::Read::read_exact(&mut client, &mut greeting).unwrap();
    assert_eq!(greeting[4], 10);
    assert_eq!(dpm.stop().code(), Some(0));
    assert!(path.exists(), "it is the service manager's");
}

#[test]
fn what_nobody_takes_is_told_and_scripts_programs_do_not_get_it() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let script = "print('children: ' .. io.popen('echo $LISTEN_FDS $LISTEN_PID; ls -l /proc/self/fd'):read('*a'):gsub('\\n', ' '))";
    let mut dpm = Launch::script(&format!("{IDLE} {script}"))
        .env("LISTEN_FDS", "2")
        .env("LISTEN_FDNAMES", "mysql.socket:other")
        .socket(socket)
        .start();
    let told = dpm.line("no listener has this address");
    assert!(
        told.contains(&format!("{address} (mysql.socket)")),
        "{told}"
    );
    dpm.line("descriptor 1 (other) is of no use");
    let children = dpm.line("children: ");
    assert!(!children.contains("socket:"), "{children}");
    assert_eq!(dpm.stop().code(), Some(0));
}

#[test]
fn descriptors_for_another_process_are_left_alone() {
    let mut dpm = Launch::script(&format!("{IDLE} print('begun')"))
        .env("LISTEN_FDS", "1")
        .env("LISTEN_PID", "1")
        .start();
    dpm.line("begun");
    dpm.stats();
    assert!(!dpm.wrote("service manager"));
    assert_eq!(dpm.stop().code(), Some(0));
}

/// The script in the manifest for Kubernetes, on free ports.
#[test]
fn the_script_for_kubernetes_runs() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/kubernetes.yaml");
    let manifest = std::fs::read_to_string(path).unwrap();
    let (_, script) = manifest.split_once("dpm.lua: |\n").expect("a script");
    let (script, _) = script.split_once("---\n").expect("its end");
    let script = script.replace("(nil, 3306)", "(nil, 0)");
    let script = script.replace("INADDR_ANY, 9104", "INADDR_ANY, 0");
    let server = mariadb();
    let mut dpm = Launch::script(&script)
        .env("DB_HOST", server.host())
        .env("DB_PORT", &server.port.to_string())
        .env("DPM_METRICS_TOKEN", "a-long-secret")
        .start();
    // (The harness's end of the script answers this.)
    assert!(dpm.stat("listeners") >= 1.0);
    assert_eq!(dpm.stop().code(), Some(0));
}

/// Kills the process that has taken the place of another, when the test ends.
struct Killed(u32);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = std::process::Command::new("kill")
            .args(["-KILL", &self.0.to_string()])
            .status();
    }
}

impl Manager {
    /// The next message that is neither a sign of life nor about a socket to be kept.
    fn hears_of_service(&self) -> String {
        loop {
            let message = self.hears_news();
            if !message.starts_with("FDSTORE") {
                return message;
            }
        }
    }
}

#[test]
fn another_process_becomes_the_service() {
    let manager = Manager::new();
    let fuse = "dpm.new_timer():schedule(60, 0, function() os.exit(1) end)";
    let script = format!("{fuse} require('harness').passthrough()");
    let launch = Launch::script(&script).server(mariadb());
    let mut dpm = manager.starts(launch.env("WATCHDOG_USEC", "100000"));
    let port = dpm.port();
    let client = Wire::login(port, PLAIN);
    assert_eq!(manager.hears_of_service(), "READY=1");
    dpm.signal("USR2");
    // The old process is the service until all that can move have moved.
    let main = manager.hears_of_service();
    let pid: u32 = main
        .strip_prefix("MAINPID=")
        .and_then(|pid| pid.parse().ok())
        .unwrap_or_else(|| panic!("{main}"));
    let _killed = Killed(pid);
    assert!(pid != dpm.pid() && dpm.runs(), "a client is left");
    assert_eq!(manager.hears_of_service(), "READY=1");
    assert_eq!(manager.hears(), "WATCHDOG=1");
    drop(client);
    dpm.wait_for_end();
    // The end of the old process is not that of the service.
    for _ in 0..5 {
        assert_eq!(manager.hears(), "WATCHDOG=1");
    }
    let _ = std::process::Command::new("kill")
        .arg(pid.to_string())
        .status();
    assert_eq!(manager.hears_of_service(), "STOPPING=1");
}

#[test]
fn listeners_are_kept_for_the_next_process() {
    let manager = Manager::new();
    let script = "local l = dpm.listener('127.0.0.1', 0)
        l:register(dpm.MYC_CONNECT, function() return dpm.DPM_NOPROXY end)
        print('port ' .. l:socket_port())
        dpm.on_signal('USR2', function() dpm.close(l) l = dpm.listener_unix(arg[1]) end)";
    let path = process::folder("socket").join("s");
    let launch = Launch::script(script).arg(path.display());
    let dpm = manager.starts(launch);
    let port = dpm.port();
    assert_eq!(
        manager.hears(),
        format!("FDSTORE=1\nFDNAME=dpm-127.0.0.1-{port}")
    );
    assert_eq!(manager.hears(), "READY=1");
    dpm.signal("USR2");
    assert_eq!(
        manager.hears(),
        format!("FDSTOREREMOVE=1\nFDNAME=dpm-127.0.0.1-{port}")
    );
    assert_eq!(
        manager.hears(),
        format!("FDSTORE=1\nFDNAME=dpm-{}", path.display())
    );
    // What is closed as the program ends stays for the next one.
    dpm.signal("TERM");
    assert_eq!(manager.hears(), "STOPPING=1");
    manager.socket.set_nonblocking(true).unwrap();
    let mut dpm = dpm;
    dpm.wait_for_end();
    assert!(manager.socket.recv(&mut [0; 100]).is_err());
}
