//! Text that people write: genesis and preset files, addresses, amounts, durations, keys. What is
//! read is written again as something that reads back the same.

use lockstep_genesis::{
    Address, Amount, DevelopmentSpec, Genesis, Network, format_duration, parse_duration,
};
use lockstep_types::generate::Random;
use lockstep_types::{Digest, PublicKey, SecretKey, Signer};

use super::Target;

pub(super) fn targets() -> Vec<Box<dyn Target>> {
    vec![
        Box::new(GenesisFile { json: true }),
        Box::new(GenesisFile { json: false }),
        Box::new(Words),
    ]
}

/// `genesis-json`, `genesis-toml`: a genesis file.
struct GenesisFile {
    json: bool,
}

impl GenesisFile {
    fn read(&self, text: &str) -> Option<Genesis> {
        if self.json {
            Genesis::from_json(text, "genesis.json").ok()
        } else {
            Genesis::from_toml(text, "genesis.toml").ok()
        }
    }

    fn write(&self, genesis: &Genesis) -> String {
        if self.json {
            genesis.to_json()
        } else {
            genesis.to_toml()
        }
    }
}

impl Target for GenesisFile {
    fn name(&self) -> &'static str {
        if self.json {
            "genesis-json"
        } else {
            "genesis-toml"
        }
    }

    fn corpus(&self, _: &mut Random) -> Vec<Vec<u8>> {
        let small = DevelopmentSpec {
            shards: 1,
            accounts: 2,
            ..DevelopmentSpec::default()
        };
        [small, DevelopmentSpec::default()]
            .iter()
            .map(|spec| Genesis::development(spec).expect("within bounds").0)
            .map(|genesis| self.write(&genesis).into_bytes())
            .collect()
    }

    fn run(&self, input: &[u8]) -> bool {
        let Ok(text) = core::str::from_utf8(input) else {
            return false;
        };
        let _ = DevelopmentSpec::from_toml(text, "preset.toml");
        let Some(genesis) = self.read(text) else {
            return false;
        };
        let again = self
            .read(&self.write(&genesis))
            .expect("our own writing reads");
        assert_eq!(again.hash(), genesis.hash(), "another chain after writing");
        true
    }
}

/// `words`: one line of text, read as everything a command line takes.
struct Words;

impl Target for Words {
    fn name(&self) -> &'static str {
        "words"
    }

    fn corpus(&self, random: &mut Random) -> Vec<Vec<u8>> {
        let key = SecretKey::insecure_from_seed(1, "words").public_key();
        let address = Address {
            network: Network::Development,
            account: random.make(),
        };
        let digest: Digest = random.make();
        let mut words = vec![
            key.to_string(),
            digest.to_string(),
            address.to_string(),
            "0.000000001".to_owned(),
            "340282366920938463463374607431.768211455".to_owned(),
            "12 lck".to_owned(),
            "7units".to_owned(),
            "1h30m".to_owned(),
            "1500ms".to_owned(),
            "beacon".to_owned(),
        ];
        words.extend((0..6).map(|_| Amount(random.make()).to_string()));
        words.into_iter().map(String::into_bytes).collect()
    }

    fn run(&self, input: &[u8]) -> bool {
        let Ok(text) = core::str::from_utf8(input) else {
            return false;
        };
        let mut taken = false;
        if let Ok(amount) = text.parse::<Amount>() {
            assert_eq!(amount.to_string().parse(), Ok(amount));
            taken = true;
        }
        if let Ok(address) = text.parse::<Address>() {
            assert_eq!(address.to_string().parse(), Ok(address));
            taken = true;
        }
        if let Ok(duration) = parse_duration(text) {
            assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
            taken = true;
        }
        if let Ok(key) = text.parse::<PublicKey>() {
            assert_eq!(key.to_string().parse(), Ok(key));
            taken = true;
        }
        if let Ok(digest) = text.parse::<Digest>() {
            assert_eq!(digest.to_string().parse(), Ok(digest));
            taken = true;
        }
        taken
    }
}
