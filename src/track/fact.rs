//! What is known, or why it is not.

/// Why something is not known.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// Nobody has said since the login: it is what the server begins with.
    Login,
    /// Nobody has said since the session was reset: it is what the server begins with now.
    Reset,
    /// Something failed on the way, and an error tells nothing of what it leaves behind.
    Error,
    /// A routine has run, or something that is not understood.
    Routine,
    /// A table was used, which may be a view or have triggers.
    Hidden,
    /// It was set, to what the text does not tell.
    Expression,
    /// It may have changed with something else.
    Coupled,
    /// It changes by itself.
    Volatile,
    /// How the server writes the name depends on its file system, or on the character set.
    Spelling,
    /// There was too much to be remembered.
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
    /// It is so.
    Known(T),
    /// It may be anything.
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
