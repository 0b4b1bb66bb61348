//! What became of one faulty member's lies. A liar that never lies, or whose lies never get as far
//! as the code they are for, tests nothing; these counts show it.

use core::fmt;
use std::collections::BTreeMap;

/// Different answers counted.
const ANSWERS: usize = 128;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lies {
    /// Messages sent that a correct member would not have sent.
    pub told: u64,
    /// Messages of its replica that it did not send.
    pub kept_back: u64,
    /// Pairs of statements that others have found to exclude each other.
    pub evidence: u64,
    /// How others answered: why something of it was refused, how often. Numbers are left out.
    pub answers: BTreeMap<String, u64>,
}

impl Lies {
    /// How often it did not do what a correct member does.
    pub fn acts(&self) -> u64 {
        self.told + self.kept_back
    }

    /// How often an answer contains `text`.
    pub fn met(&self, text: &str) -> u64 {
        let met = self.answers.iter();
        met.filter(|(answer, _)| answer.contains(text))
            .map(|(_, times)| times)
            .sum()
    }

    /// Adds what became of others' lies.
    pub fn add(&mut self, other: &Lies) {
        self.told += other.told;
        self.kept_back += other.kept_back;
        self.evidence += other.evidence;
        for (answer, times) in &other.answers {
            *self.answers.entry(answer.clone()).or_default() += times;
        }
    }

    pub(crate) fn on_answer(&mut self, answer: &str) {
        let words = answer.split(' ');
        let words: Vec<&str> = words
            .map(|word| {
                let number = word.chars().any(|c| c.is_ascii_digit());
                if number { "#" } else { word }
            })
            .collect();
        let answer = words.join(" ");
        if self.answers.len() < ANSWERS || self.answers.contains_key(&answer) {
            *self.answers.entry(answer).or_default() += 1;
        }
    }
}

impl fmt::Display for Lies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (told, kept, evidence) = (self.told, self.kept_back, self.evidence);
        write!(f, "{told} told, {kept} kept back, {evidence} shown")?;
        for (answer, times) in &self.answers {
            write!(f, "; {times} x {answer}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_without_their_numbers() {
        let mut lies = Lies::default();
        for view in 1..5 {
            lies.on_answer(&format!("a second statement of m1 for view {view}"));
        }
        assert_eq!(lies.met("second statement"), 4);
        assert_eq!(lies.answers.len(), 1);
        for word in 0..1_000u32 {
            lies.on_answer(&"x".repeat(word as usize));
        }
        assert_eq!(lies.answers.len(), ANSWERS);
    }
}
