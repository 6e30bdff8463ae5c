//! How much one spec may ask for. The limits are far above what a person writes and low enough that a hostile
//! spec is refused within about a second and a few hundred megabytes.

use std::cell::Cell;

use super::value::Value;

/// Expressions that may be evaluated in one load, each round of a `for` counted.
const MOST_STEPS: u64 = 2_000_000;
/// Bytes of all values that are made in one load.
const MOST_BYTES: u64 = 64 << 20;
/// Bytes of one value, everything in it counted as often as it is met.
const MOST_WEIGHT: u64 = 8 << 20;
/// Levels of one value.
const MOST_DEPTH: u32 = 100;

/// What is left.
#[derive(Debug)]
pub(crate) struct Budget {
    steps: Cell<u64>,
    bytes: Cell<u64>,
}

/// Which limit was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Excess {
    Steps,
    Bytes,
    Weight,
    Depth,
}

impl Excess {
    pub(crate) fn message(self) -> String {
        match self {
            Self::Steps => format!("the spec needs more than {MOST_STEPS} evaluation steps"),
            Self::Bytes => format!("the spec's values need more than {} MiB", MOST_BYTES >> 20),
            Self::Weight => format!("this value is larger than {} MiB", MOST_WEIGHT >> 20),
            Self::Depth => format!("this value is nested deeper than {MOST_DEPTH} levels"),
        }
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self { steps: Cell::new(MOST_STEPS), bytes: Cell::new(MOST_BYTES) }
    }
}

impl Budget {
    /// Takes one step.
    pub(crate) fn step(&self) -> Result<(), Excess> {
        let left = self.steps.get().checked_sub(1).ok_or(Excess::Steps)?;
        self.steps.set(left);
        Ok(())
    }

    /// Takes the steps of walking values: one for each KiB.
    pub(crate) fn walk<'v>(&self, values: impl Iterator<Item = &'v Value>) -> Result<(), Excess> {
        let weight = values.fold(0_u64, |sum, value| sum.saturating_add(value.size().weight));
        let left = self.steps.get().checked_sub(weight >> 10).ok_or(Excess::Steps)?;
        self.steps.set(left);
        Ok(())
    }

    /// Takes the bytes of a value that was just made, and judges its size.
    pub(crate) fn admit(&self, value: Value) -> Result<Value, Excess> {
        let size = value.size();
        if size.depth > MOST_DEPTH {
            return Err(Excess::Depth);
        }
        if size.weight > MOST_WEIGHT {
            return Err(Excess::Weight);
        }
        self.charge(size.weight)?;
        Ok(value)
    }

    /// Takes bytes.
    pub(crate) fn charge(&self, bytes: u64) -> Result<(), Excess> {
        let left = self.bytes.get().checked_sub(bytes).ok_or(Excess::Bytes)?;
        self.bytes.set(left);
        Ok(())
    }

    /// Judges a text that is still growing.
    pub(crate) fn fits(len: usize) -> Result<(), Excess> {
        if len as u64 > MOST_WEIGHT { Err(Excess::Weight) } else { Ok(()) }
    }
}
