//! What doc/POOLING.md says is so: its first steps are run, and its reasons are those of the program.

use std::collections::BTreeSet;
use std::path::Path;

use dpm::pool::Reason;

use crate::guide::{Reader, steps};
use crate::support::{Cli, Flavour, both};

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("doc/POOLING.md");
    std::fs::read_to_string(path).unwrap()
}

/// What a chapter's tables have in their first columns.
fn first_cells(page: &str, chapter: &str) -> BTreeSet<String> {
    let chapter = page.split("\n## ").find(|text| text.starts_with(chapter));
    let lines = chapter.expect("the chapter").lines();
    lines
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(name, _)| name.to_owned())
        .collect()
}

#[test]
fn the_page_has_every_reason_by_its_name() {
    let reasons: BTreeSet<String> = Reason::ALL
        .iter()
        .map(|reason| reason.name().to_owned())
        .collect();
    assert_eq!(first_cells(&page(), "Held, and why"), reasons);
}

both! {
    fn the_first_five_minutes(server) {
        let mut reader = Reader::new(server);
        let steps = steps("doc/POOLING.md");
        let (last, first) = steps[1].split_last().unwrap();
        for (language, block) in first {
            reader.read(language, block);
        }
        // The last is asked while the client of the block before it is still there.
        let mut client = reader.client().args(["-N", "-B", "shop"]).session();
        client.send("CREATE TEMPORARY TABLE basket (item INT)");
        assert_eq!(client.ask("SELECT COUNT(*) FROM basket"), "0");
        let port = reader.dpm().line("admin statements on port ");
        let port = port.rsplit(' ').next().unwrap();
        let shown = Cli::tool(Flavour::MariaDb, "mysql")
            .args(["--no-defaults", "--protocol=tcp", "-h127.0.0.1", "-udba", "-pwatch", "--skip-ssl"])
            .arg(format!("-P{port}"))
            .args(["-e", "SHOW HELD\\G"])
            .ok();
        assert_eq!(plain(&shown, &server.port.to_string()), plain(last.1.split_once('\n').unwrap().1, "3306"));
    }
}

/// The lines without what differs from run to run.
fn plain(shown: &str, port: &str) -> Vec<String> {
    let varies = ["Client", "Thread", "Since", "Seconds"];
    let lines = shown
        .lines()
        .map(|line| match line.trim().split_once(": ") {
            Some((name, _)) if varies.contains(&name) => name.to_owned(),
            _ => line.trim().replace(&format!(":{port}"), ":PORT"),
        });
    lines.collect()
}
