//! Settings that are one word out of a few.

use clap::ValueEnum;

/// A setting that is one word out of a few.
pub(crate) trait Word {
    /// Takes the word, if it is one of them.
    fn set(&mut self, word: &str) -> bool;
    /// The word it has.
    fn get(&self) -> String;
    /// All words.
    fn words(&self) -> Vec<String>;
}

impl<T: ValueEnum> Word for T {
    fn set(&mut self, word: &str) -> bool {
        let Ok(value) = T::from_str(word, false) else { return false };
        *self = value;
        true
    }

    fn get(&self) -> String {
        name(self)
    }

    fn words(&self) -> Vec<String> {
        T::value_variants().iter().map(name).collect()
    }
}

fn name<T: ValueEnum>(value: &T) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}
