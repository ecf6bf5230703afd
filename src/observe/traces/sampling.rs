//! Which traces are recorded.

use super::context::Context;

/// The part of a trace's id that is random, of which the decision is made: the last seven bytes, as OpenTelemetry has it, so
/// that all programs that sample by the same ratio agree.
const RANDOM_BITS: u32 = 56;

/// A share of all traces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ratio(u64);

impl Ratio {
    /// From 0 (none) to 1 (all); `None` for any other number.
    pub fn new(share: f64) -> Option<Ratio> {
        let most = (1u64 << RANDOM_BITS) as f64;
        (0.0..=1.0)
            .contains(&share)
            .then_some(Ratio((most * (1.0 - share)) as u64))
    }

    /// Whether a trace whose id ends with these bits is among them.
    fn has(self, low: u64) -> bool {
        low & ((1 << RANDOM_BITS) - 1) >= self.0
    }
}

/// What is known of a query's trace when it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    /// It is recorded.
    Recorded(Ids),
    /// It is recorded if it turns out to be slow. The second half of the trace's id.
    IfSlow(u64),
    /// It is not.
    Not,
}

/// The ids of a span that is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ids {
    pub trace: [u8; 16],
    pub span: [u8; 8],
    pub parent: Option<[u8; 8]>,
}

impl Ids {
    /// A span of a trace of its own, whose id ends with this.
    pub fn alone(low: u64) -> Ids {
        let mut trace = [0; 16];
        let halves = [rand::random::<u64>(), low];
        for (to, from) in trace
            .iter_mut()
            .zip(halves.iter().flat_map(|it| it.to_be_bytes()))
        {
            *to = from;
        }
        Ids {
            trace,
            span: span_id(),
            parent: None,
        }
    }

    /// A span below another one.
    pub fn below(parent: Context) -> Ids {
        Ids {
            trace: parent.trace,
            span: span_id(),
            parent: Some(parent.span),
        }
    }

    /// What those below it are told.
    pub fn context(&self) -> Context {
        Context {
            trace: self.trace,
            span: self.span,
            sampled: true,
        }
    }
}

fn span_id() -> [u8; 8] {
    // (0 is no id.)
    rand::random::<u64>().max(1).to_be_bytes()
}

/// Decides about a query. A parent has decided for all that is below it.
pub(super) fn decide(parent: Option<Context>, ratio: Ratio, wants_slow: bool) -> Decision {
    match parent {
        Some(parent) if parent.sampled => Decision::Recorded(Ids::below(parent)),
        Some(_) => Decision::Not,
        None => {
            let low = rand::random::<u64>();
            match (ratio.has(low), wants_slow) {
                (true, _) => Decision::Recorded(Ids::alone(low)),
                (false, true) => Decision::IfSlow(low),
                (false, false) => Decision::Not,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_what_was_asked_for() {
        for (share, least, most) in [(0.0, 0, 0), (0.1, 800, 1200), (1.0, 10_000, 10_000)] {
            let ratio = Ratio::new(share).unwrap();
            let taken = (0..10_000).filter(|_| {
                matches!(decide(None, ratio, false), Decision::Recorded(ids) if ids.parent.is_none())
            });
            let taken = taken.count();
            assert!((least..=most).contains(&taken), "{share}: {taken}");
        }
        for share in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            assert_eq!(Ratio::new(share), None);
        }
    }

    #[test]
    fn the_id_decides() {
        // What has threshold 0x80… is recorded by a ratio of one half and above.
        let half = Ratio::new(0.5).unwrap();
        assert!(half.has(0x0080_0000_0000_0000));
        assert!(!half.has(0x007F_FFFF_FFFF_FFFF));
        // The first byte of this half is not random in all programs.
        assert!(!half.has(0xFF00_0000_0000_0000));
        let Decision::Recorded(ids) = decide(None, Ratio::new(1.0).unwrap(), false) else {
            panic!("all are recorded");
        };
        assert_ne!(ids.trace[..8], [0; 8]);
    }

    #[test]
    fn a_parent_decides_for_all_below() {
        let parent = |sampled| {
            Some(Context {
                trace: [1; 16],
                span: [2; 8],
                sampled,
            })
        };
        let (all, none) = (Ratio::new(1.0).unwrap(), Ratio::new(0.0).unwrap());
        assert_eq!(decide(parent(false), all, true), Decision::Not);
        let Decision::Recorded(ids) = decide(parent(true), none, false) else {
            panic!("it is recorded");
        };
        assert_eq!((ids.trace, ids.parent), ([1; 16], Some([2; 8])));
        assert!(matches!(decide(None, none, true), Decision::IfSlow(_)));
        assert_eq!(decide(None, none, false), Decision::Not);
    }
}
