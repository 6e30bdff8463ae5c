//! Syntax to sections: every block checked against the table of the language, its attributes evaluated and of the
//! form they should have.

mod block;
mod entry;
mod section;

pub(crate) use self::block::Reader;
pub(crate) use self::entry::Entry;
pub(crate) use self::section::{Open, Section};
