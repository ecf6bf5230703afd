//! The reference is complete: what scripts can name, the documents name too.

use std::path::Path;

use crate::support::dpm::Launch;

/// The names in the `dpm` table that match this pattern.
fn names(pattern: &str) -> Vec<String> {
    let dpm = Launch::script(
        "for name in pairs(dpm) do
           if name:match(arg[1]) then print('name ' .. name) end
         end
         print('that is all')",
    )
    .arg(pattern)
    .start();
    dpm.line("that is all");
    dpm.lines("name ")
}

fn document(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("doc").join(name);
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn api_md_names_everything_in_the_dpm_table() {
    let api = document("API.md");
    let names = names(".");
    assert!(names.len() > 200, "{}", names.len());
    for name in names {
        assert!(api.contains(&name), "doc/API.md does not mention {name}");
    }
}

#[test]
fn events_md_names_every_state() {
    let events = document("EVENTS.md");
    for name in names("^MY[CS]?_[A-Z]+_?[A-Z_]*$") {
        let is_state = !["MY_CLIENT", "MY_SERVER"].contains(&name.as_str());
        assert!(
            !is_state || events.contains(&name),
            "doc/EVENTS.md does not mention {name}"
        );
    }
}
