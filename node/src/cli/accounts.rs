//! Whom a command means: an address, a key of the keystore, or one of the names that every
//! development network has. Those names are refused everywhere else: anyone can compute their keys.

use std::path::PathBuf;

use lockstep_client::{Keystore, KeystoreError};
use lockstep_genesis::{Address, Network, PERSONAS, development_account};
use lockstep_types::{AccountId, SecretKey};
use zeroize::Zeroizing;

use super::failure::Failure;

/// Where a password comes from.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct PasswordOptions {
    /// File whose first line is the password [default: ask]
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
}

impl PasswordOptions {
    /// Reads or asks for the password of a key.
    ///
    /// # Errors
    /// When the file cannot be read, or nobody is there to ask.
    pub(crate) fn read(&self, prompt: &str) -> Result<Zeroizing<String>, Failure> {
        if let Some(path) = &self.password_file {
            let text =
                std::fs::read_to_string(path).map_err(|error| Failure::file(path, &error))?;
            let text = Zeroizing::new(text);
            return Ok(Zeroizing::new(
                text.lines().next().unwrap_or_default().to_owned(),
            ));
        }
        rpassword::prompt_password(prompt)
            .map(Zeroizing::new)
            .map_err(|error| {
                Failure::usage(
                    "LS-KEY-009",
                    format!("cannot ask for the password: {error}"),
                )
                .help("give it with --password-file FILE")
            })
    }

    /// Asks twice for a new password; a file is believed at once.
    ///
    /// # Errors
    /// As [`PasswordOptions::read`]; also when the two differ.
    pub(crate) fn read_new(&self, name: &str) -> Result<Zeroizing<String>, Failure> {
        let first = self.read(&format!("New password for {name}: "))?;
        if self.password_file.is_none() && *self.read("The same again: ")? != *first {
            return Err(Failure::usage("LS-KEY-010", "the two passwords differ"));
        }
        Ok(first)
    }
}

/// What names are understood.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Names<'a> {
    /// The user's keys.
    pub(crate) keystore: &'a Keystore,
    /// The kind of network.
    pub(crate) network: Network,
    /// Seed of a development network.
    pub(crate) seed: Option<u64>,
    /// How many shards it has.
    pub(crate) shards: u16,
}

impl Names<'_> {
    /// The account somebody means.
    ///
    /// # Errors
    /// When there is no such name, or the address is wrong.
    pub(crate) fn account(&self, who: &str) -> Result<AccountId, Failure> {
        if let Some(persona) = self.persona(who) {
            return Ok(persona.account);
        }
        match self.keystore.load(who) {
            Ok(file) => {
                let key = file.public_key().ok_or_else(|| {
                    Failure::usage(
                        "LS-KEY-011",
                        format!("the key file of {who} does not name its account"),
                    )
                    .help(format!(
                        "lockstep key import --keystore {who}.json reads it into a new one"
                    ))
                })?;
                return Ok(AccountId::of(&key));
            }
            Err(KeystoreError::NotFound { .. } | KeystoreError::BadName { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        if PERSONAS.contains(&who) {
            let message = format!(
                "{who} exists on development networks only, and this is a {} network",
                self.network
            );
            return Err(
                Failure::usage("LS-KEY-012", message).help("lockstep key new NAME makes a key")
            );
        }
        if looks_like_a_name(who) {
            let directory = self.keystore.directory().to_owned();
            return Err(KeystoreError::NotFound {
                name: who.to_owned(),
                directory,
            }
            .into());
        }
        Address::parse_on(who, self.network).map_err(|error| Failure::address(who, &error))
    }

    /// The key that signs for somebody.
    ///
    /// # Errors
    /// When there is none, or the password is wrong.
    pub(crate) fn signer(
        &self,
        who: &str,
        password: &PasswordOptions,
    ) -> Result<SecretKey, Failure> {
        if let Some(persona) = self.persona(who) {
            return Ok(persona.key);
        }
        let name = match self.account(who)? {
            _ if self.keystore.path(who).is_ok_and(|path| path.exists()) => who.to_owned(),
            account => self.name_of(&account)?.ok_or_else(|| {
                Failure::usage(
                    "LS-KEY-013",
                    format!("there is no key for {who} in your keystore"),
                )
                .help("lockstep key list shows the keys there are")
            })?,
        };
        let file = self.keystore.load(&name)?;
        let password = password.read(&format!("Password for {name}: "))?;
        Ok(file.decrypt(&password)?)
    }

    fn persona(&self, who: &str) -> Option<lockstep_genesis::AccountKey> {
        let seed = self.seed.filter(|_| self.network == Network::Development)?;
        development_account(seed, self.shards, who)
    }

    /// The key of the keystore that belongs to an account.
    fn name_of(&self, account: &AccountId) -> Result<Option<String>, Failure> {
        for name in self.keystore.names()? {
            let key = self.keystore.load(&name)?.public_key();
            if key.is_some_and(|key| AccountId::of(&key) == *account) {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }
}

/// Too short for an address, and without the `1` that every address has: somebody meant a name.
fn looks_like_a_name(who: &str) -> bool {
    who.len() < 20 && !who.contains("lock1")
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_client::{Cost, KeyFile};
    use lockstep_types::Signer as _;

    fn names(keystore: &Keystore, network: Network) -> Names<'_> {
        Names {
            keystore,
            network,
            seed: Some(0),
            shards: 2,
        }
    }

    #[test]
    fn names_mean_what_the_network_allows() {
        let directory = tempfile::tempdir().unwrap();
        let keystore = Keystore::at(directory.path());
        let key = SecretKey::insecure_from_seed(9, "mine");
        let own = AccountId::of(&key.public_key());
        let file = KeyFile::encrypt(&key, "p", Cost::INSECURE_FAST).unwrap();
        keystore.save("mine", &file).unwrap();

        let development = names(&keystore, Network::Development);
        let alice = development.account("alice").unwrap();
        assert_eq!(alice.shard(2).get(), 0);
        assert_eq!(development.account("mine").unwrap(), own);
        let text = Address::new(Network::Development, own).to_string();
        assert_eq!(development.account(&text).unwrap(), own);
        assert_eq!(
            development.account("nobody").unwrap_err().code,
            "LS-KEY-002"
        );

        let main = names(&keystore, Network::Main);
        assert_eq!(main.account("alice").unwrap_err().code, "LS-KEY-012");
        assert_eq!(main.account(&text).unwrap_err().code, "LS-ADDR-002");
        assert_eq!(main.account("mine").unwrap(), own);
    }

    #[test]
    fn a_key_signs_by_name_and_by_address_with_its_password() {
        let directory = tempfile::tempdir().unwrap();
        let keystore = Keystore::at(directory.path().join("keys"));
        let key = SecretKey::insecure_from_seed(9, "mine");
        let file = KeyFile::encrypt(&key, "secret", Cost::INSECURE_FAST).unwrap();
        keystore.save("mine", &file).unwrap();
        let path = directory.path().join("password");
        let password = PasswordOptions {
            password_file: Some(path.clone()),
        };
        let names = names(&keystore, Network::Main);
        let address = Address::new(Network::Main, AccountId::of(&key.public_key())).to_string();
        std::fs::write(&path, "secret\n").unwrap();
        for who in ["mine", &address] {
            assert_eq!(
                names.signer(who, &password).unwrap().public_key(),
                key.public_key()
            );
        }
        std::fs::write(&path, "wrong\n").unwrap();
        let failure = names.signer("mine", &password).unwrap_err();
        assert_eq!((failure.code, failure.exit as u8), ("LS-KEY-007", 4));
        let stranger = Address::new(Network::Main, AccountId::new([1; 20])).to_string();
        assert_eq!(
            names.signer(&stranger, &password).unwrap_err().code,
            "LS-KEY-013"
        );
    }

    #[test]
    fn a_typing_error_is_pointed_at() {
        let keystore = Keystore::at("/nowhere");
        let address = Address::new(Network::Main, AccountId::new([1; 20])).to_string();
        let typo = format!("{}q", &address[..address.len() - 1]);
        let failure = names(&keystore, Network::Main).account(&typo).unwrap_err();
        assert_eq!(failure.code, "LS-ADDR-003");
        let caret = failure.shown[1].find('^').unwrap();
        assert_eq!(caret, typo.len() - 1);
    }
}
