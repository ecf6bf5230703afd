//! What: a proxy in Rust, without Lua: every command's text is printed on its way to the server.
//! How:  cargo run --example embed -- 127.0.0.1 3306 5500; then mysql -h127.0.0.1 -P5500 …
//! See:  the SQL of all the client's queries. All other packets are forwarded without being parsed.

use std::cell::RefCell;
use std::error::Error;
use std::rc::Rc;

use dpm::proxy::{ConnId, ConnInfo, Hooks, Incoming, Options, Proxy, Verdict};
use dpm::session::Event;

struct Printer {
    proxy: Proxy,
    backend: (String, u16),
    links: RefCell<usize>,
}

impl Hooks for Printer {
    fn accepted(&self, _: &Rc<ConnInfo>, client: &Rc<ConnInfo>) -> Verdict {
        let (host, port) = &self.backend;
        let linked = self
            .proxy
            .connect_tcp(host, *port, Options::default())
            .and_then(|server| self.proxy.link(client.id, server.id));
        if let Err(error) = linked {
            eprintln!("client {}: {error}", client.id.serial());
            return Verdict::Failed;
        }
        self.proxy.arm(client.id, Event::ClientSentCommand.set());
        Verdict::Forward
    }

    fn event(&self, conn: &Rc<ConnInfo>, _: Event, packet: Option<Incoming<'_>>) -> Verdict {
        if let Some([_com, sql @ ..]) = packet.map(|packet| packet.payload) {
            println!("{}: {}", conn.id.serial(), String::from_utf8_lossy(sql));
        }
        Verdict::Forward
    }

    fn linked(&self, _: ConnId, _: ConnId) {
        *self.links.borrow_mut() += 1;
    }

    /// A client without its server can do nothing here: it is to see that, and to connect again.
    fn unlinked(&self, client: ConnId, _: ConnId) {
        *self.links.borrow_mut() -= 1;
        self.proxy.close(client, "its server is gone");
    }

    fn closing(&self, conn: &Rc<ConnInfo>, _: bool) {
        println!("{} closed: {}", conn.id.serial(), conn.reason());
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let host = args.next().unwrap_or_else(|| "127.0.0.1".into());
    let port = args.next().unwrap_or_else(|| "3306".into()).parse()?;
    let listen = args.next().unwrap_or_else(|| "5500".into()).parse()?;
    let proxy = Proxy::new()?;
    proxy.set_hooks(Rc::new(Printer {
        proxy: proxy.clone(),
        backend: (host, port),
        links: RefCell::default(),
    }));
    let listener = proxy.listen_tcp(Some("127.0.0.1"), listen, Options::default())?;
    println!("listening on 127.0.0.1:{}", listener.port.get());
    std::process::exit(proxy.run()?);
}
