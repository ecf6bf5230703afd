//! What has been logged about certificates of our own.

use std::collections::HashSet;

/// The warnings since certificates were last checked, so that a certificate that many connections
/// use is warned about once.
#[derive(Debug, Default)]
pub(crate) struct CertificateLog {
    told: HashSet<String>,
}

impl CertificateLog {
    /// Logs a warning that is new.
    pub fn add(&mut self, warning: String) {
        if !self.told.contains(&warning) {
            log::warn!("{warning}");
            self.told.insert(warning);
        }
    }

    /// How many warnings were logged.
    #[cfg(test)]
    pub fn told(&self) -> usize {
        self.told.len()
    }

    /// Forgets what was logged: it will be logged again.
    pub fn clear(&mut self) {
        self.told.clear();
    }
}
