//! The program's log.

use log::{Level, LevelFilter, Log, Metadata, Record};

/// Begins to log on stderr: what `RUST_LOG` says, or what is of this level or graver.
pub fn begin(level: LevelFilter) {
    let environment = env_logger::Env::default().default_filter_or(level.as_str());
    let logger = env_logger::Builder::from_env(environment).build();
    let level = logger.filter();
    // It fails if the program that embeds this one has a logger already, which then is as good.
    if log::set_boxed_logger(Box::new(Discreet(logger))).is_ok() {
        log::set_max_level(level);
    }
}

/// Lets nobody but this crate and its scripts speak at the level of traces, whatever `RUST_LOG`
/// says: there the libraries show what they move, rustls the messages of its handshakes.
struct Discreet(env_logger::Logger);

impl Discreet {
    fn admits(&self, metadata: &Metadata<'_>) -> bool {
        let origin = metadata.target().split("::").next().unwrap_or_default();
        metadata.level() <= Level::Debug || matches!(origin, "dpm" | "lua")
    }
}

impl Log for Discreet {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.admits(metadata) && self.0.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if self.admits(record.metadata()) {
            self.0.log(record);
        }
    }

    fn flush(&self) {
        self.0.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_keep_their_traces_to_themselves() {
        let logger = env_logger::Builder::new().parse_filters("trace").build();
        let logger = Discreet(logger);
        let enabled = |target, level| {
            logger.enabled(&Metadata::builder().target(target).level(level).build())
        };
        assert!(enabled("dpm::proxy::close", Level::Trace));
        assert!(enabled("lua", Level::Trace));
        assert!(enabled("rustls::client", Level::Debug));
        assert!(!enabled("rustls::client", Level::Trace));
        assert!(!enabled("dpmx", Level::Trace));
    }
}
