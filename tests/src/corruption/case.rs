//! One case: some damage to one image, and its name.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::damage::Damage;
use super::image::End;
use super::place::Place;

/// What is done to an image before its nodes are started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// Which image.
    pub end: End,
    /// What is done, in this order. Nothing: the control.
    pub damages: Vec<(Place, Damage)>,
}

/// Text that names no case.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no case: clean|cut, then for each damage ,NODE:FILE:DAMAGE, nodes from 0")]
pub struct UnknownCase(String);

impl Case {
    /// Nodes with damage.
    pub fn is_damaged(&self, node: usize) -> bool {
        self.damages.iter().any(|(place, _)| place.node == node)
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.end.name())?;
        for (place, damage) in &self.damages {
            write!(f, ",{place}:{damage}")?;
        }
        Ok(())
    }
}

impl FromStr for Case {
    type Err = UnknownCase;

    fn from_str(text: &str) -> Result<Self, UnknownCase> {
        let unknown = || UnknownCase(text.to_owned());
        let mut parts = text.split(',');
        let end = parts.next().and_then(|name| End::ALL.into_iter().find(|end| end.name() == name));
        let damages = parts.map(|part| {
            let (node, rest) = part.split_once(':')?;
            let (file, damage) = rest.rsplit_once(':')?;
            let place = Place { node: node.parse().ok()?, file: PathBuf::from(file) };
            Some((place, damage.parse().ok()?))
        });
        let damages = damages.collect::<Option<_>>();
        Ok(Self { end: end.ok_or_else(unknown)?, damages: damages.ok_or_else(unknown)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_is_found_again_by_its_name() {
        let place = |node| Place { node, file: PathBuf::from("groups/1/wal/1-2.wal") };
        let damages = vec![(place(0), Damage::Flip(3)), (place(2), Damage::Delete)];
        for case in [Case { end: End::PowerCut, damages }, Case { end: End::Clean, damages: Vec::new() }] {
            assert_eq!(case.to_string().parse(), Ok(case));
        }
        assert!("late".parse::<Case>().is_err());
    }
}
