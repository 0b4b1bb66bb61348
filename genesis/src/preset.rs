//! Presets: shapes of development networks, kept as TOML files in `genesis/presets`.

use crate::check::MAX_SHARDS;
use crate::limits::range_fault;
use crate::reader::Reader;
use crate::toml_form::{amount, duration, limits};
use crate::{Amount, DevelopmentSpec, Problems};

/// A shape with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preset {
    /// What to type behind `--preset`.
    pub name: &'static str,
    /// The TOML file.
    pub text: &'static str,
}

/// The presets that come with Lockstep.
pub const PRESETS: [Preset; 2] = [
    Preset {
        name: "dev",
        text: include_str!("../presets/dev.toml"),
    },
    Preset {
        name: "bench",
        text: include_str!("../presets/bench.toml"),
    },
];

impl Preset {
    /// The preset of a name.
    pub fn find(name: &str) -> Option<Self> {
        PRESETS.into_iter().find(|preset| preset.name == name)
    }

    /// The shape.
    pub fn spec(self) -> DevelopmentSpec {
        DevelopmentSpec::from_toml(self.text, self.name)
            .expect("the presets are read by a test of this crate")
    }
}

impl DevelopmentSpec {
    /// Reads a shape; what it does not name has its default.
    ///
    /// # Errors
    /// Everything that is wrong with it, with lines of `file`.
    pub fn from_toml(text: &str, file: &str) -> Result<Self, Problems> {
        let (mut reader, table) = Reader::parse(text, file);
        let mut spec = DevelopmentSpec::default();
        if !reader.is_broken() {
            let mut root = reader.section(&table, "");
            let reader = &mut reader;
            if let Some(name) = root.text("name", reader) {
                spec.name = name;
            }
            let mut number = |key, low, high: u64, or: u64| match root.number(key, reader) {
                None => or,
                Some(number) => {
                    if let Some(fault) = range_fault(number, low, high.into()) {
                        reader.found.add(key, fault);
                    }
                    u64::try_from(number).unwrap_or(or)
                }
            };
            let shards = MAX_SHARDS as u64;
            spec.seed = number("seed", 0, u64::MAX, spec.seed);
            // The casts follow the range; a value outside has been reported and is not used.
            spec.shards = number("shards", 1, shards, spec.shards.into()) as u16;
            spec.validators = number("validators", 4, 64, spec.validators.into()) as u8;
            spec.depth = number("depth", 0, 2, spec.depth.into()) as u8;
            spec.accounts = number("accounts", 0, 1_000_000, spec.accounts.into()) as u32;
            spec.interval = duration(&mut root, "interval", reader).unwrap_or(spec.interval);
            spec.patience = duration(&mut root, "patience", reader).unwrap_or(spec.patience);
            let balance: Option<Amount> = amount(&mut root, "balance", reader);
            spec.balance = balance.unwrap_or(spec.balance);
            if let Some(section) = root.table("limits", reader) {
                spec.limits = limits(section, spec.limits, reader);
            }
            root.close(reader);
        }
        reader.finish().map(|()| spec)
    }
}
