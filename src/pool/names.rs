//! Names that many clients have, each of which is kept once.

use std::collections::HashSet;
use std::rc::Rc;

/// Names in use.
#[derive(Debug, Default)]
pub struct Names {
    all: HashSet<Rc<str>>,
    /// How many there may be before those that nobody uses any more are dropped.
    limit: usize,
}

/// The least such limit.
const FEW: usize = 64;

impl Names {
    /// The name, shared with all who have the same.
    pub fn share(&mut self, name: &str) -> Rc<str> {
        if let Some(shared) = self.all.get(name) {
            return shared.clone();
        }
        if self.all.len() >= self.limit {
            self.all.retain(|name| Rc::strong_count(name) > 1);
            self.limit = FEW.max(2 * self.all.len());
        }
        let shared: Rc<str> = name.into();
        self.all.insert(shared.clone());
        shared
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_kept_once_and_as_long_as_somebody_has_it() {
        let mut names = Names::default();
        let ann = names.share("ann");
        assert!(Rc::ptr_eq(&ann, &names.share("ann")));
        let others: Vec<_> = (0..100).map(|n| names.share(&n.to_string())).collect();
        assert_eq!(names.all.len(), 101);
        drop(others);
        for n in 0..1000 {
            names.share(&format!("passing {n}"));
        }
        assert!(names.all.len() <= 2 * FEW, "{}", names.all.len());
        assert!(Rc::ptr_eq(&ann, &names.share("ann")));
    }
}
