//! Why no order explains a key's replies, for a reader.

use std::fmt;

use super::model::{Key, Value};
use super::operations::{Operation, Position};

/// Operations of one key that no order explains, as few as could be found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The key. Before the first operation it holds nothing.
    pub key: Key,
    /// The operations, in the order of their calls. What ends behind the last reply that matters counts as open.
    pub operations: Vec<Operation>,
    /// The one of them whose end nothing explains any more.
    pub refused: usize,
    /// What the key could hold, by all orders that explain what ended before.
    pub held: Vec<Held>,
}

/// What a key could hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// This value; `None` for none.
    Value(Option<Value>),
    /// A value that no reply and no guard names.
    Unnamed,
}

impl Violation {
    /// Where its last reply came, to tell which of two was first.
    pub(super) fn at(&self) -> Option<Position> {
        self.operations.iter().filter_map(Operation::ended).max()
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "no order of these operations on key {:?} explains their replies:", self.key.as_str())?;
        for (at, operation) in self.operations.iter().enumerate() {
            let mark = if at == self.refused { '>' } else { ' ' };
            writeln!(f, "{mark} {operation}")?;
        }
        f.write_str("until the marked one had to have taken effect, the key could hold:")?;
        for (at, held) in self.held.iter().enumerate() {
            f.write_str(if at == 0 { " " } else { ", " })?;
            match held {
                Held::Value(Some(value)) => write!(f, "{value}")?,
                Held::Value(None) => f.write_str("nothing")?,
                Held::Unnamed => f.write_str("a value nobody names")?,
            }
        }
        Ok(())
    }
}
