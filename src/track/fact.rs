//! A value that is known, or the reason why it is not.

/// Why something is not known.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// Not mentioned since the login: it is the server's initial value.
    Login,
    /// Not mentioned since the session was reset: it is the server's current initial value.
    Reset,
    /// A statement failed, and errors do not report what they leave changed.
    Error,
    /// A routine has run, or a statement that is not understood.
    Routine,
    /// Of what may be left behind: a statement that is not understood.
    Text,
    /// Of what may be left behind: a loadable function was called, or one that is not known.
    Loadable,
    /// Of what may be left behind: a stored routine was called that is not known.
    Missing,
    /// A table was used, which may be a view or have triggers.
    Hidden,
    /// It was set to a value that the text does not contain.
    Expression,
    /// It may have changed together with another value.
    Coupled,
    /// It changes by itself.
    Volatile,
    /// The server's spelling of the name depends on its file system, or on the character set.
    Spelling,
    /// There was too much to remember.
    Overflow,
}

impl Doubt {
    /// A stable name.
    pub fn name(self) -> &'static str {
        match self {
            Doubt::Login => "login",
            Doubt::Reset => "reset",
            Doubt::Error => "error",
            Doubt::Routine => "routine",
            Doubt::Text => "text",
            Doubt::Loadable => "loadable",
            Doubt::Missing => "missing",
            Doubt::Hidden => "hidden",
            Doubt::Expression => "expression",
            Doubt::Coupled => "coupled",
            Doubt::Volatile => "volatile",
            Doubt::Spelling => "spelling",
            Doubt::Overflow => "overflow",
        }
    }
}

/// Something that is known, or not.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Fact<T> {
    /// The known value.
    Known(T),
    /// Unknown, for this reason.
    Unknown(Doubt),
}

impl<T> Fact<T> {
    /// What is known.
    pub fn known(&self) -> Option<&T> {
        match self {
            Fact::Known(value) => Some(value),
            Fact::Unknown(_) => None,
        }
    }

    /// The same of a reference.
    pub fn as_ref(&self) -> Fact<&T> {
        match self {
            Fact::Known(value) => Fact::Known(value),
            Fact::Unknown(doubt) => Fact::Unknown(*doubt),
        }
    }
}
