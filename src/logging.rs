//! The program's log.

use log::{Level, LevelFilter, Log, Metadata, Record};

/// Starts logging to stderr, filtered by `RUST_LOG`, or by this level without it.
pub fn begin(level: LevelFilter) {
    let environment = env_logger::Env::default().default_filter_or(level.as_str());
    let logger = env_logger::Builder::from_env(environment).build();
    let level = logger.filter();
    // It fails if a program that embeds this library has installed its own logger, which is used
    // then.
    if log::set_boxed_logger(Box::new(Discreet(logger))).is_ok() {
        log::set_max_level(level);
    }
}

/// Drops the trace messages of all libraries, whatever `RUST_LOG` says: at that level they log the
/// data that they handle, such as rustls the messages of its handshakes. This crate's and its
/// scripts' remain.
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
