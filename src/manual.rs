//! The manual page and the completions of shells, from the command line's definition.

use clap::{Command, ValueEnum};
use clap_complete::{Shell, generate};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

/// What is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Manual {
    /// The manual page, dpm(1).
    Man,
    /// Completions for bash.
    Bash,
    /// Completions for zsh.
    Zsh,
    /// Completions for fish.
    Fish,
}

impl Manual {
    /// It as text.
    pub fn text(self, mut command: Command) -> Vec<u8> {
        let mut text = Vec::new();
        let shell = match self {
            Manual::Man => return page(command),
            Manual::Bash => Shell::Bash,
            Manual::Zsh => Shell::Zsh,
            Manual::Fish => Shell::Fish,
        };
        generate(shell, &mut command, "dpm", &mut text);
        text
    }
}

/// The sections that the command line does not define: their terms, and what these do.
const SECTIONS: &[(&str, &[(&str, &str)])] = &[
    (
        "EXIT STATUS",
        &[
            ("0", "It has ended in order, also by a signal."),
            (
                "1",
                "The script, or a file of the command line, has an error.",
            ),
            ("2", "The command line has an error."),
            ("N", "The script has called dpm.exit(N)."),
        ],
    ),
    (
        "SIGNALS",
        &[
            (
                "SIGTERM, SIGINT",
                "Listeners and idle clients are closed, and exchanges in flight may finish. The second one ends the \
                 program at once.",
            ),
            (
                "SIGHUP",
                "Opens the log file anew, then runs the script's dpm.on_signal(\"HUP\").",
            ),
            (
                "SIGUSR2",
                "The script's dpm.on_signal(\"USR2\"). Without one, an upgrade: the program starts itself as it is on disk \
                 now, and the new process takes the place of this one, with its listening sockets and its clients.",
            ),
            ("SIGUSR1", "The script's."),
        ],
    ),
    (
        "ENVIRONMENT",
        &[
            ("RUST_LOG", "What is logged, such as info,dpm::pool=debug."),
            ("NO_COLOR", "If set, the log has no colours."),
            (
                "LUA_PATH, LUA_CPATH",
                "Where modules are looked for, after the folder of the script.",
            ),
            (
                "DPM_LUA",
                "The folder of the library, instead of the one in the program.",
            ),
            (
                "NOTIFY_SOCKET, WATCHDOG_USEC, LISTEN_FDS",
                "Set by systemd(1): see sd_notify(3) and sd_listen_fds(3).",
            ),
        ],
    ),
    (
        "FILES",
        &[
            ("/etc/dpm/dpm.lua", "The script that dpm.service runs."),
            ("/etc/default/dpm", "Options for dpm.service."),
        ],
    ),
];

fn page(command: Command) -> Vec<u8> {
    let mut text = Vec::new();
    let page = Man::new(command).manual("User Commands");
    // They fail only if the writer does, and a vector does not.
    let _ = page
        .render_title(&mut text)
        .and_then(|()| page.render_name_section(&mut text))
        .and_then(|()| page.render_synopsis_section(&mut text))
        .and_then(|()| page.render_description_section(&mut text))
        .and_then(|()| page.render_options_section(&mut text));
    for (section, entries) in SECTIONS {
        let mut roff = Roff::new();
        roff.control("SH", [*section]);
        for (term, does) in *entries {
            roff.control("TP", []);
            roff.text([bold(*term)]);
            roff.text([roman(*does)]);
        }
        let _ = roff.to_writer(&mut text);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Arguments;
    use clap::CommandFactory;

    fn text(manual: Manual) -> String {
        String::from_utf8(manual.text(Arguments::command())).unwrap()
    }

    #[test]
    fn every_option_is_in_each() {
        for manual in Manual::value_variants() {
            let text = text(*manual).replace("\\-", "-");
            for option in Arguments::command().get_arguments() {
                let Some(name) = option.get_long().filter(|_| !option.is_hide_set()) else {
                    continue;
                };
                assert!(text.contains(name), "{name} is not in {manual:?}");
            }
        }
    }

    #[test]
    fn the_page_has_its_sections_in_order() {
        let text = text(Manual::Man);
        let sections: Vec<_> = text
            .lines()
            .filter_map(|line| line.strip_prefix(".SH "))
            .map(|name| name.trim_matches('"'))
            .collect();
        assert_eq!(
            sections,
            [
                "NAME",
                "SYNOPSIS",
                "DESCRIPTION",
                "OPTIONS",
                "EXIT STATUS",
                "SIGNALS",
                "ENVIRONMENT",
                "FILES"
            ]
        );
    }
}
